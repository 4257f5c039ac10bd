/* Where a convolution's kernel lies: shapes, windows, and the outputs that share one. */
#ifndef DFE_GEOMETRY_H
#define DFE_GEOMETRY_H

#include "dfedge.h"

static inline int32_t dfe_min(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t dfe_max(int32_t a, int32_t b) { return a > b ? a : b; }
static inline int32_t dfe_ceil_div(int32_t a, int32_t b) { return (a + b - 1) / b; }

static inline int32_t dfe_out_height(const dfe_conv *c) {
    return (c->height + c->top + c->bottom - c->kernel_height) / c->stride + 1;
}

static inline int32_t dfe_out_width(const dfe_conv *c) {
    return (c->width + c->left + c->right - c->kernel_width) / c->across + 1;
}

static inline int32_t dfe_taps(const dfe_conv *c) { return c->kernel_height * c->kernel_width; }

/* Numbers in the weights: [taps, C, O], depthwise [taps, C, 1]. */
static inline int32_t dfe_weights(const dfe_conv *c) {
    return dfe_taps(c) * c->in_channels * (c->depthwise ? 1 : c->channels);
}

/* Along an axis of one position nothing is pooled, and there is one cell. */
static inline int32_t dfe_pool_side(int32_t side) { return dfe_min(2, side); }
static inline int32_t dfe_grid_side(int32_t side, int32_t cells) { return dfe_min(cells, side); }

/* Positions of one cell along an axis. */
static inline int32_t dfe_cell_side(int32_t side, int32_t cells) {
    return dfe_ceil_div(side, dfe_grid_side(side, cells));
}

/* Half-open. */
typedef struct {
    int32_t begin, end;
} dfe_span;

/* All of n, and the part of them that a slice does: `most` from `next` on. */
static inline dfe_span dfe_all(int32_t n) {
    dfe_span s = {0, n};
    return s;
}

static inline dfe_span dfe_slice(int32_t next, int32_t most, int32_t n) {
    dfe_span s = {next, most < n - next ? next + most : n};
    return s;
}

/* Taps of one axis that lie inside the input for output o. */
static inline dfe_span dfe_window(int32_t o, int32_t stride, int32_t pad, int32_t kernel,
                                  int32_t size) {
    int32_t start = o * stride - pad;
    dfe_span s = {dfe_max(0, -start), dfe_min(kernel, size - start)};
    if (s.end < s.begin) s.end = s.begin;
    return s;
}

/* Outputs of one axis that tap k reaches inside the input. */
static inline dfe_span dfe_reached(int32_t k, int32_t stride, int32_t pad, int32_t size,
                                   int32_t outputs) {
    int32_t first = dfe_max(0, pad - k);
    int32_t past = size + pad - k; /* o * stride must stay below it */
    dfe_span s = {dfe_ceil_div(first, stride), past > 0 ? dfe_ceil_div(past, stride) : 0};
    s.end = dfe_min(s.end, outputs);
    if (s.end < s.begin) s.end = s.begin;
    return s;
}

/* The end of the run of outputs from o on that share o's window: inside an image without border
 * tests, because all that differs at a border is the window. */
static inline int32_t dfe_zone_end(int32_t o, int32_t stride, int32_t pad, int32_t kernel,
                                   int32_t size, int32_t outputs) {
    dfe_span here = dfe_window(o, stride, pad, kernel, size);
    int32_t end = o + 1;
    for (; end < outputs; end++) {
        dfe_span next = dfe_window(end, stride, pad, kernel, size);
        if (next.begin != here.begin || next.end != here.end) break;
    }
    return end;
}

#endif
