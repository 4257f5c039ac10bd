/* How far from normal a sample is, and following a slow drift: dfedge/device/normal.py has the rules.
 *
 * seen: what dfe_features gives of one sample. */
#ifndef DFE_NORMAL_H
#define DFE_NORMAL_H

#include "dfedge.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t threshold; /* the largest distance of a normal sample */
    int64_t reach;     /* how far a mode may move from where it was at first */
    int32_t rate;      /* right shift of a move */
} dfe_normal;

/* Distance to the nearest live mode, whose number is written where mode is not NULL; negative where
 * no mode is live. */
int64_t dfe_distance(const dfe_program *program, const void *state, const int8_t *seen,
                     int32_t *mode);

/* Let a sample that is normal teach: the nearest mode's anchors move towards it.  first: the state that
 * was exported.  1 where it taught, else 0: it is not normal, or the mode has moved as far as it may. */
int dfe_follow(const dfe_program *program, const dfe_normal *normal, void *state, const void *first,
               const int8_t *seen);

#ifdef __cplusplus
}
#endif

#endif
