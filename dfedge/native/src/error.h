/* The error at a convolution's output, made where it is read: most errors are never stored. */
#ifndef DFE_ERROR_H
#define DFE_ERROR_H

#include "dfedge.h"

enum dfe_error_kind {
    DFE_CELLS, /* values int8 [B, cells down, cells across, O], each at every position of its cell where h > 0 */
    DFE_MAP,   /* values int8 [B, H, W, O] */
    DFE_SIGNED /* values int8 [B], -1, 0 or 1, times h */
};

typedef struct {
    enum dfe_error_kind kind;
    const int8_t *values;
    const int8_t *h;    /* int8 [B, H, W, O]; not read of a map */
    const int8_t *acts; /* int8 [B]: 0 where a sample's error is zero throughout; NULL: unknown */
    int32_t height, width, channels, cells;
} dfe_error;

/* Outputs o .. o + n of `count` positions from column x on: int8, rows `step` apart. */
void dfe_error_row(const dfe_error *e, int32_t b, int32_t y, int32_t x, int32_t count, int32_t o,
                   int32_t n, int8_t *out, ptrdiff_t step);

/* Whether a sample's error may be other than zero. */
static inline int dfe_error_acts(const dfe_error *e, int32_t b) {
    return e->acts == NULL || e->acts[b] != 0;
}

#endif
