/* The steps of a frozen trunk that are no convolution: dfedge/int8/ops/trunk.py.
 *
 * Values are int8 [H, W, C] of one image.  What works value by value may write where it reads.
 * In a damaged table any places may overlap: then the numbers are wrong, and nothing worse.
 */
#ifndef DFE_FROZEN_H
#define DFE_FROZEN_H

#include "pool.h"

static inline ptrdiff_t dfe_values(dfe_shape s) { return (ptrdiff_t)s.height * s.width * s.channels; }

/* (factor a + other c + offset) >> shift; c NULL: of one value. */
void dfe_mix(const dfe_frozen *step, ptrdiff_t n, const int8_t *a, const int8_t *c, int8_t *out);

/* ((a - zero) (g - other_zero) factor + offset) >> shift; g [1, 1, C] where it is a vector. */
void dfe_gate(const dfe_frozen *step, const int8_t *a, const int8_t *g, int vector, int8_t *out);

/* v = a - zero, t = clamp((v slope + half) >> bend, 0, 255): (v t factor + offset) >> shift. */
void dfe_swish(const dfe_frozen *step, ptrdiff_t n, const int8_t *a, int8_t *out);

/* (factor sum + offset) >> shift over windows without padding. */
void dfe_mean(const dfe_frozen *step, dfe_shape given, const int8_t *x, int8_t *out);

/* The maximum over windows. */
void dfe_largest(const dfe_frozen *step, dfe_shape given, const int8_t *x, int8_t *out);

/* Padded with `zero`. */
void dfe_surround(const dfe_frozen *step, dfe_shape given, const int8_t *x, int8_t *out);

/* `channels` of every position beside others: rows of `out` are `step` apart. */
void dfe_beside(ptrdiff_t positions, const int8_t *x, ptrdiff_t channels, int8_t *out,
                ptrdiff_t step);

#endif
