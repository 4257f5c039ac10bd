/* How an error moves a convolution: summed, rounded and written back tile by tile, in place. */
#ifndef DFE_UPDATE_H
#define DFE_UPDATE_H

#include "error.h"
#include "geometry.h"

/* w <- clamp(w - R(corr(x, e), shift)); no gradient buffer beyond one tile. */
void dfe_conv_update(const dfe_conv *conv, int32_t batch, const int8_t *x, const dfe_error *e,
                     int8_t *w, int32_t shift, uint32_t phase);

/* The same of some strips of the weights: DFE_OUTPUTS outputs of a tap each; how many there are. */
void dfe_conv_update_some(const dfe_conv *conv, int32_t batch, const int8_t *x, const dfe_error *e,
                          int8_t *w, int32_t shift, uint32_t phase, dfe_span strips);
int32_t dfe_strips(const dfe_conv *conv);

#endif
