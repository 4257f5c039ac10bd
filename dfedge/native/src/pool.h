/* Pools, and the energy's normalisation. */
#ifndef DFE_POOL_H
#define DFE_POOL_H

#include "dfedge.h"

/* Shape of a layer's output h. */
typedef struct {
    int32_t height, width, channels;
} dfe_shape;

/* 2 x 2 maximum, of a line along the line, an odd last row or column left out. Within h: `a` may be h itself, or end where h
 * ends; the loop runs in the direction that reads before it writes. */
void dfe_max_pool(const int8_t *h, int32_t batch, dfe_shape shape, int8_t *a);

/* Mean of one sample over cells x cells parts, one along an axis of one position: int8 [parts * C],
 * min(127, (2^gain 2 sum + n) // (2 n)), what lies outside the image being zero. */
void dfe_pool_cells(const int8_t *h, dfe_shape shape, int32_t cells, int32_t gain, int8_t *p);

/* Sum of squares of one map of n values. */
int32_t dfe_energy(const int8_t *h, ptrdiff_t n);

/* In place, min(127, (h m + half) >> shift), m = floor(sqrt(norm / g)) at most 255. */
void dfe_normalise(int8_t *h, ptrdiff_t n, int32_t g, uint64_t norm, int32_t shift);

#endif
