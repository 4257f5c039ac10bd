/* Rates that follow the error: dfedge/compile/pace.py. */
#ifndef DFE_PACE_H
#define DFE_PACE_H

#include "dfedge.h"

enum { DFE_ERROR_BITS = 16 };

/* By how much this step's shifts grow while the error exceeds the usual one by little: 2^-16. */
int32_t dfe_slowing(int32_t excess, int32_t pace);

/* The error after a batch, from the scores [B, K] before its update: a sample is misjudged where
 * another class scores as much as its own. */
int32_t dfe_error_after(int32_t error, int32_t batch, int32_t classes, const int32_t *scores,
                        const int32_t *y);

#endif
