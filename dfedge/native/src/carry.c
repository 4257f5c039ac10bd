#include "carry.h"

#include "arithmetic.h"
#include "geometry.h"
#include "level.h"

static int8_t sign_of(int8_t v) { return (int8_t)((v > 0) - (v < 0)); }

static int8_t sized(int8_t v, int8_t sign) {
    return (int8_t)((v < 0 ? -v : v) * sign_of(sign));
}

/* Rows of weights whose signs are taken from elsewhere are made one at a time. */
static void signed_dots(const dfe_back *back, const int8_t *e, int32_t n, ptrdiff_t at,
                        int32_t channels, int32_t *acc) {
    int8_t row[DFE_OUTPUTS];
    for (int32_t c = 0; c < channels; c++, at += back->conv->channels) {
        for (int32_t i = 0; i < n; i++) row[i] = sized(back->w[at + i], back->signs[at + i]);
        dfe_level_now()->dots(e, n, row, 0, 1, acc + c);
    }
}

static void through_tap(const dfe_back *back, int32_t b, int32_t oy, int32_t ox, int32_t tap,
                        int32_t c, int32_t n, int32_t *acc) {
    const dfe_conv *conv = back->conv;
    int8_t e[DFE_OUTPUTS];
    if (conv->depthwise) {
        ptrdiff_t at = (ptrdiff_t)tap * conv->channels + c;
        dfe_error_row(back->error, b, oy, ox, 1, c, n, e, DFE_OUTPUTS);
        for (int32_t i = 0; i < n; i++) {
            int8_t w = back->w[at + i];
            acc[i] += e[i] * (back->signs ? sized(w, back->signs[at + i]) : w);
        }
        return;
    }
    for (int32_t o = 0; o < conv->channels; o += DFE_OUTPUTS) {
        int32_t outputs = dfe_min(DFE_OUTPUTS, conv->channels - o);
        ptrdiff_t at = ((ptrdiff_t)tap * conv->in_channels + c) * conv->channels + o;
        dfe_error_row(back->error, b, oy, ox, 1, o, outputs, e, DFE_OUTPUTS);
        if (back->signs)
            signed_dots(back, e, outputs, at, n, acc);
        else
            dfe_level_now()->dots(e, outputs, back->w + at, conv->channels, n, acc);
    }
}

void dfe_carry_at(const dfe_back *back, int32_t b, int32_t y, int32_t x, int32_t c, int32_t n,
                  int32_t *acc) {
    const dfe_conv *conv = back->conv;
    int32_t height = dfe_out_height(conv), width = dfe_out_width(conv), stride = conv->stride;
    if (!dfe_error_acts(back->error, b)) return;
    for (int32_t ky = 0; ky < conv->kernel_height; ky++) {
        int32_t down = y + conv->top - ky;
        if (down < 0 || down % stride || down / stride >= height) continue;
        for (int32_t kx = 0; kx < conv->kernel_width; kx++) {
            int32_t across = x + conv->left - kx;
            if (across < 0 || across % stride || across / stride >= width) continue;
            through_tap(back, b, down / stride, across / stride, ky * conv->kernel_width + kx, c, n,
                        acc);
        }
    }
}

void dfe_carry_inside_some(const dfe_back *back, const int8_t *seen, int8_t *map, dfe_span rows) {
    const dfe_conv *conv = back->conv;
    for (int32_t row = rows.begin; row < rows.end; row++)
        for (int32_t x = 0; x < conv->width; x++)
            for (int32_t c = 0; c < conv->in_channels; c += DFE_OUTPUTS) {
                int32_t acc[DFE_OUTPUTS] = {0}, n = dfe_min(DFE_OUTPUTS, conv->in_channels - c);
                ptrdiff_t at = ((ptrdiff_t)row * conv->width + x) * conv->in_channels + c;
                dfe_carry_at(back, row / conv->height, row % conv->height, x, c, n, acc);
                for (int32_t i = 0; i < n; i++)
                    map[at + i] = seen[at + i] > 0 ? dfe_narrow(acc[i], conv->back) : 0;
            }
}

void dfe_carry_inside(const dfe_back *back, int32_t batch, const int8_t *seen, int8_t *map) {
    dfe_carry_inside_some(back, seen, map, dfe_all(batch * back->conv->height));
}

/* What comes down to one position of what the layer below handed on: int8 [n]. */
static void down_at(const dfe_unit_back *unit, int32_t b, int32_t y, int32_t x, int32_t c,
                    int32_t n, int8_t *down) {
    int32_t acc[DFE_OUTPUTS] = {0}, other[DFE_OUTPUTS] = {0};
    dfe_carry_at(&unit->first, b, y, x, c, n, acc);
    if (unit->joined) {
        if (unit->skip.conv) {
            dfe_carry_at(&unit->skip, b, y, x, c, n, other);
        } else {
            int8_t e[DFE_OUTPUTS];
            dfe_error_row(unit->skip.error, b, y, x, 1, c, n, e, DFE_OUTPUTS);
            for (int32_t i = 0; i < n; i++) other[i] = e[i];
        }
        for (int32_t i = 0; i < n; i++)
            acc[i] = acc[i] * (1 << unit->lift) + other[i] * (1 << unit->skip_lift);
    }
    for (int32_t i = 0; i < n; i++) down[i] = dfe_narrow(acc[i], unit->first.conv->back);
}

/* Add an error to the own one where the unit is on. */
static int8_t added(int8_t own, int8_t down, int8_t h) {
    return h > 0 ? (int8_t)dfe_clamp(own + down, -DFE_MAX, DFE_MAX) : 0;
}

/* The window of a maximum: rows and columns, and how far apart they lie. */
typedef struct {
    int32_t rows, columns;
    ptrdiff_t row, column;
} pool_window;

/* Through the maximum, to all positions of its window that held it. */
static void add_pooled(const int8_t *h, const pool_window *window, const int8_t *down, int32_t n,
                       int8_t *map) {
    ptrdiff_t corner[4];
    int32_t corners = 0;
    for (int32_t y = 0; y < window->rows; y++)
        for (int32_t x = 0; x < window->columns; x++)
            corner[corners++] = y * window->row + x * window->column;
    for (int32_t i = 0; i < n; i++) {
        int8_t top = 0; /* activations are never negative */
        for (int32_t k = 0; k < corners; k++) top = h[corner[k] + i] > top ? h[corner[k] + i] : top;
        for (int32_t k = 0; k < corners; k++)
            if (h[corner[k] + i] == top)
                map[corner[k] + i] = added(map[corner[k] + i], down[i], top);
    }
}

int32_t dfe_rows_below(const dfe_error *own, int32_t pool) {
    return own->height / (pool ? dfe_pool_side(own->height) : 1);
}

void dfe_carry_below_some(const dfe_unit_back *unit, const dfe_error *own, int32_t pool,
                          int8_t *map, dfe_span rows) {
    ptrdiff_t row = (ptrdiff_t)own->width * own->channels;
    pool_window window = {pool ? dfe_pool_side(own->height) : 1, pool ? dfe_pool_side(own->width) : 1,
                          row, own->channels};
    int32_t height = dfe_rows_below(own, pool), width = own->width / window.columns;
    for (int32_t at_row = rows.begin; at_row < rows.end; at_row++) {
        int32_t b = at_row / height, y = at_row % height;
        for (int32_t own_y = 0; y == 0 && own_y < own->height; own_y++)
            dfe_error_row(own, b, own_y, 0, own->width, 0, own->channels,
                          map + (b * own->height + own_y) * row, own->channels);
        for (int32_t x = 0; x < width; x++)
            for (int32_t c = 0; c < own->channels; c += DFE_OUTPUTS) {
                int32_t n = dfe_min(DFE_OUTPUTS, own->channels - c);
                int8_t down[DFE_OUTPUTS];
                ptrdiff_t at = (b * own->height + (ptrdiff_t)y * window.rows) * row +
                               (ptrdiff_t)x * window.columns * own->channels + c;
                down_at(unit, b, y, x, c, n, down);
                if (pool)
                    add_pooled(own->h + at, &window, down, n, map + at);
                else
                    for (int32_t i = 0; i < n; i++)
                        map[at + i] = added(map[at + i], down[i], own->h[at + i]);
            }
    }
}

void dfe_carry_below(const dfe_unit_back *unit, int32_t batch, const dfe_error *own, int32_t pool,
                     int8_t *map) {
    dfe_carry_below_some(unit, own, pool, map, dfe_all(batch * dfe_rows_below(own, pool)));
}

void dfe_carry_means(const dfe_unit_back *unit, int32_t batch, const dfe_error *own, int8_t *map) {
    int32_t features = dfe_grid_side(own->height, own->cells) *
                       dfe_grid_side(own->width, own->cells) * own->channels;
    for (int32_t b = 0; b < batch; b++)
        for (int32_t c = 0; c < features; c += DFE_OUTPUTS) {
            int32_t n = dfe_min(DFE_OUTPUTS, features - c);
            int8_t down[DFE_OUTPUTS];
            ptrdiff_t at = (ptrdiff_t)b * features + c;
            down_at(unit, b, 0, 0, c, n, down);
            for (int32_t i = 0; i < n; i++)
                map[at + i] = (int8_t)dfe_clamp(own->values[at + i] + down[i], -DFE_MAX, DFE_MAX);
        }
}
