/* The label-plane form, in the order of dfedge/compile/plane.py. */
#ifndef DFE_PLANE_H
#define DFE_PLANE_H

#include "unit.h"

/* Scores [B, K] of labels not shown are DFE_DEAD. */
void dfe_plane_learn(const dfe_run *run, const int8_t *x, const int32_t *y, int32_t *scores,
                     int32_t *active);

/* Scores [B, K], one label's copies at a time. */
void dfe_plane_infer(const dfe_run *run, const int8_t *x, int32_t *scores);

#endif
