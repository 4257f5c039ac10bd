#include "error.h"

#include "geometry.h"

static void gated(const int8_t *error, const int8_t *h, int32_t n, int8_t *out) {
    for (int32_t i = 0; i < n; i++) out[i] = (int8_t)(error[i] & -(h[i] > 0));
}

void dfe_error_row(const dfe_error *e, int32_t b, int32_t y, int32_t x, int32_t count, int32_t o,
                   int32_t n, int8_t *out, ptrdiff_t step) {
    ptrdiff_t place = ((ptrdiff_t)b * e->height + y) * e->width + x;
    const int8_t *at = (e->kind == DFE_MAP ? e->values : e->h) + place * e->channels + o;
    if (e->kind == DFE_CELLS) {
        int32_t cell_height = dfe_cell_side(e->height, e->cells);
        int32_t cell_width = dfe_cell_side(e->width, e->cells);
        ptrdiff_t row = ((ptrdiff_t)b * dfe_grid_side(e->height, e->cells) + y / cell_height) *
                        dfe_grid_side(e->width, e->cells);
        int32_t cell = x / cell_width, left = cell_width - x % cell_width;
        for (int32_t i = 0; i < count; i++, at += e->channels, out += step) {
            gated(e->values + (row + cell) * e->channels + o, at, n, out);
            if (--left == 0) {
                left = cell_width;
                cell++;
            }
        }
        return;
    }
    int32_t sign = e->kind == DFE_MAP ? 1 : e->values[b];
    for (int32_t i = 0; i < count; i++, at += e->channels, out += step)
        for (int32_t j = 0; j < n; j++) out[j] = (int8_t)(at[j] * sign);
}
