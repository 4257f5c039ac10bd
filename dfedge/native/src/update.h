/* How an error moves a convolution: summed, rounded and written back tile by tile, in place. */
#ifndef DFE_UPDATE_H
#define DFE_UPDATE_H

#include "arithmetic.h"
#include "error.h"

/* Of a convolution's output channels; slowing: added to every shift in this step. */
typedef struct {
    const int8_t *shifts;
    int32_t slowing;
} dfe_rates;

/* The shift of a step; clamped, so that not even tensors that overlap in a damaged table can harm. */
static inline int32_t dfe_rate(int32_t shift, int32_t slowing) {
    return dfe_clamp(dfe_clamp(shift, 0, DFE_MAX_UPDATE_SHIFT) + slowing, 0, DFE_MAX_UPDATE_SHIFT);
}

/* w <- clamp(w - R(corr(x, e), shift)); no gradient buffer beyond one tile. */
void dfe_conv_update(const dfe_conv *conv, int32_t batch, const int8_t *x, const dfe_error *e,
                     int8_t *w, const dfe_rates *rates, uint32_t phase);

#endif
