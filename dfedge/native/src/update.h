/* How an error moves a convolution: summed, rounded and written back tile by tile, in place. */
#ifndef DFE_UPDATE_H
#define DFE_UPDATE_H

#include "error.h"

/* w <- clamp(w - R(corr(x, e), shift)); no gradient buffer beyond one tile. */
void dfe_conv_update(const dfe_conv *conv, int32_t batch, const int8_t *x, const dfe_error *e,
                     int8_t *w, int32_t shift, uint32_t phase);

#endif
