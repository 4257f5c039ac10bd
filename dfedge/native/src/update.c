#include "update.h"

#include "arithmetic.h"
#include "geometry.h"
#include "level.h"

/* One tile of weights: a tap, some input channels, some outputs; and the positions that move it. */
typedef struct {
    const dfe_conv *conv;
    const int8_t *x;
    const dfe_error *error;
    int32_t ky, kx, c, channels, o, outputs;
    int32_t acc[DFE_CHANNELS * DFE_OUTPUTS];
    const int8_t *seen[DFE_POSITIONS];
    int8_t e[DFE_POSITIONS * DFE_OUTPUTS];
    int32_t count;
} tile;

static void flush(tile *t) {
    for (int32_t i = t->count; i % 4; i++)
        for (int32_t o = 0; o < DFE_OUTPUTS; o++) t->e[i * DFE_OUTPUTS + o] = 0;
    dfe_level_now()->correlate(t->seen, t->channels, t->e, t->count, t->outputs, t->acc);
    t->count = 0;
}

static void flush_depthwise(tile *t) {
    for (int32_t i = 0; i < t->count; i++)
        for (int32_t o = 0; o < t->outputs; o++)
            t->acc[o] += t->seen[i][o] * t->e[i * DFE_OUTPUTS + o];
    t->count = 0;
}

/* One row of positions of one sample, as many at a time as the tile has room for. */
static void row(tile *t, int32_t b, int32_t oy, dfe_span columns) {
    const dfe_conv *conv = t->conv;
    ptrdiff_t y = (ptrdiff_t)b * conv->height + oy * conv->stride - conv->top + t->ky;
    for (int32_t ox = columns.begin; ox < columns.end;) {
        int32_t n = dfe_min(columns.end - ox, DFE_POSITIONS - t->count);
        dfe_error_row(t->error, b, oy, ox, n, t->o, t->outputs, t->e + t->count * DFE_OUTPUTS,
                      DFE_OUTPUTS);
        for (int32_t i = 0; i < n; i++, ox++)
            t->seen[t->count++] =
                t->x + (y * conv->width + ox * conv->stride - conv->left + t->kx) *
                           conv->in_channels + t->c;
        if (t->count == DFE_POSITIONS) (conv->depthwise ? flush_depthwise : flush)(t);
    }
}

static void gather(tile *t, int32_t batch) {
    const dfe_conv *conv = t->conv;
    dfe_span rows = dfe_reached(t->ky, conv->stride, conv->top, conv->height, dfe_out_height(conv));
    dfe_span columns = dfe_reached(t->kx, conv->stride, conv->left, conv->width,
                                   dfe_out_width(conv));
    for (int32_t i = 0; i < DFE_CHANNELS * DFE_OUTPUTS; i++) t->acc[i] = 0;
    t->count = 0;
    for (int32_t b = 0; b < batch; b++) {
        if (!dfe_error_acts(t->error, b)) continue;
        for (int32_t oy = rows.begin; oy < rows.end; oy++) row(t, b, oy, columns);
    }
    if (t->count) (conv->depthwise ? flush_depthwise : flush)(t);
}

static void apply(const tile *t, int8_t *w, int32_t shift, uint32_t phase) {
    const dfe_conv *conv = t->conv;
    const dfe_level *level = dfe_level_now();
    int32_t tap = t->ky * conv->kernel_width + t->kx;
    uint32_t place = phase + (uint32_t)tap * DFE_LATTICE_0 + (uint32_t)t->c * DFE_LATTICE_1;
    w += ((ptrdiff_t)tap * conv->in_channels + t->c) * (conv->depthwise ? 1 : conv->channels);
    if (conv->depthwise) {
        level->move(t->acc, t->outputs, shift, place, DFE_LATTICE_1, w);
        return;
    }
    place += (uint32_t)t->o * DFE_LATTICE_2;
    for (int32_t c = 0; c < t->channels; c++, place += DFE_LATTICE_1)
        level->move(t->acc + c * DFE_OUTPUTS, t->outputs, shift, place, DFE_LATTICE_2,
                    w + (ptrdiff_t)c * conv->channels + t->o);
}

/* Of one position there is nothing to sum: w[c][o] moves by R(x[c] e[o]), and not at all where
 * either is zero. */
static void move_by_one(const dfe_conv *conv, const int8_t *x, const dfe_error *error, int8_t *w,
                        int32_t shift, uint32_t phase, dfe_span strips) {
    for (int32_t strip = strips.begin; strip < strips.end; strip++) {
        int8_t e[DFE_OUTPUTS];
        int32_t o = strip * DFE_OUTPUTS;
        int32_t outputs = dfe_min(DFE_OUTPUTS, conv->channels - o);
        dfe_error_row(error, 0, 0, 0, 1, o, outputs, e, DFE_OUTPUTS);
        dfe_move_by_products(x, conv->in_channels, e, outputs, conv->channels, shift,
                             phase + (uint32_t)o * DFE_LATTICE_2, w + o);
    }
}

/* Padding makes further positions, or one that sees nothing. */
static int is_one_position(const dfe_conv *conv, int32_t batch) {
    int padded = conv->top || conv->bottom || conv->left || conv->right;
    return batch == 1 && !conv->depthwise && conv->height == 1 && conv->width == 1 &&
           dfe_taps(conv) == 1 && !padded;
}

int32_t dfe_strips(const dfe_conv *conv) {
    return dfe_taps(conv) * dfe_ceil_div(conv->channels, DFE_OUTPUTS);
}

void dfe_conv_update_some(const dfe_conv *conv, int32_t batch, const int8_t *x, const dfe_error *e,
                          int8_t *w, int32_t shift, uint32_t phase, dfe_span strips) {
    tile t;
    int32_t tiles = dfe_ceil_div(conv->channels, DFE_OUTPUTS);
    if (is_one_position(conv, batch)) {
        if (dfe_error_acts(e, 0)) move_by_one(conv, x, e, w, shift, phase, strips);
        return;
    }
    t.conv = conv;
    t.x = x;
    t.error = e;
    for (int32_t strip = strips.begin; strip < strips.end; strip++) {
        int32_t tap = strip / tiles;
        t.ky = tap / conv->kernel_width;
        t.kx = tap % conv->kernel_width;
        t.o = strip % tiles * DFE_OUTPUTS;
        t.outputs = dfe_min(DFE_OUTPUTS, conv->channels - t.o);
        if (conv->depthwise) {
            t.c = t.o;
            gather(&t, batch);
            apply(&t, w, shift, phase);
            continue;
        }
        for (t.c = 0; t.c < conv->in_channels; t.c += DFE_CHANNELS) {
            t.channels = dfe_min(DFE_CHANNELS, conv->in_channels - t.c);
            gather(&t, batch);
            apply(&t, w, shift, phase);
        }
    }
}

void dfe_conv_update(const dfe_conv *conv, int32_t batch, const int8_t *x, const dfe_error *e,
                     int8_t *w, int32_t shift, uint32_t phase) {
    dfe_conv_update_some(conv, batch, x, e, w, shift, phase, dfe_all(dfe_strips(conv)));
}
