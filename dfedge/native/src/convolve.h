/* Convolutions forward, to int8 at once: no int32 activation is ever stored. */
#ifndef DFE_CONVOLVE_H
#define DFE_CONVOLVE_H

#include "geometry.h"

/* h = min(127, (max(0, conv(x, w) + b) + half) >> shift): int8 [B, H', W', O]. */
void dfe_conv_relu(const dfe_conv *conv, int32_t batch, const int8_t *x, const int8_t *w,
                   const int32_t *b, int8_t *h);

/* So many outputs are one slice's: the calls `_some` make those of a span alone. */
int32_t dfe_conv_slice(const dfe_conv *conv, int32_t groups, int32_t batch);

/* Of a frozen trunk: every output channel has a shift of its own, int32 [O] each. */
typedef struct {
    const int32_t *lift, *limit;
#if !DFE_SMALL
    const int8_t *kept; /* its weights, packed by the set in use (kept.h); NULL: they are not */
#endif
} dfe_scaling;

/* min(127, (min(limit, max(0, conv(x, w) + b)) lift + half) >> shift): int8 [B, H', W', O].
 * groups: of channels that are convolved on their own, weights [taps, C / groups, O]. */
void dfe_conv_scaled(const dfe_conv *conv, int32_t groups, int32_t batch, const int8_t *x,
                     const int8_t *w, const int32_t *b, dfe_scaling scaling, int8_t *h);
void dfe_conv_scaled_some(const dfe_conv *conv, int32_t groups, int32_t batch, const int8_t *x,
                          const int8_t *w, const int32_t *b, dfe_scaling scaling, int8_t *h,
                          dfe_span some);

/* What a residual layer adds to its last convolution: the input, or a 1 x 1 convolution of it. */
typedef struct {
    const int8_t *x;
    const dfe_conv *conv; /* NULL: x itself */
    const int8_t *w;
    const int32_t *b;
    int32_t lift, skip_lift;
} dfe_skip;

/* The same over (conv(inner, w) + b) 2^lift + skip 2^skip_lift. */
void dfe_conv_join(const dfe_conv *conv, int32_t batch, const int8_t *inner, const int8_t *w,
                   const int32_t *b, const dfe_skip *skip, int8_t *h);
void dfe_conv_join_some(const dfe_conv *conv, int32_t batch, const int8_t *inner, const int8_t *w,
                        const int32_t *b, const dfe_skip *skip, int8_t *h, dfe_span some);

#endif
