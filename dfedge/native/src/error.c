#include "error.h"

#include "geometry.h"
#include "level.h"

#ifdef DFE_MVE
#include <arm_mve.h>
#endif

/* error where h > 0, else 0: four at a time, as h is never negative. */
static void gated(const int8_t *error, const int8_t *h, int32_t n, int8_t *out) {
    int32_t i = 0;
#ifdef DFE_MVE
    for (; i + 16 <= n; i += 16)
        vst1q_s8(out + i, vldrbq_z_s8(error + i, vcmpneq_n_s8(vld1q_s8(h + i), 0)));
#endif
    for (; i + 4 <= n; i += 4) {
        uint32_t e, on;
        __builtin_memcpy(&e, error + i, sizeof e);
        __builtin_memcpy(&on, h + i, sizeof on);
        on = (on + 0x7F7F7F7Fu) & 0x80808080u; /* the highest bit of a byte: it is not zero */
        e &= on | (on - (on >> 7));
        __builtin_memcpy(out + i, &e, sizeof e);
    }
    for (; i < n; i++) out[i] = (int8_t)(error[i] & -(h[i] > 0));
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
