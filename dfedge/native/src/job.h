/* A call in slices, so that a loop goes on beside it: dfe_begin checks it as the whole call does, and
 * each dfe_go does a part, to the same bits.  What is handed over stays where it is, unchanged, until
 * it is done.  Between two parts a state that learns is half moved: it is not to be saved. */
#ifndef DFE_JOB_H
#define DFE_JOB_H

#include "trunk.h"
#include "unit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A layer that learns, or that waits for the error from above. */
typedef struct {
    const dfe_layer *layer; /* NULL: none */
    const int8_t *x;
    dfe_frame frame;
    dfe_error own;
} dfe_waiting;

typedef struct {
    dfe_run run;
    int32_t stage, layer;
    const int8_t *x; /* what the next stage receives */
    const int32_t *y;
    int32_t *scores, *active;
    int8_t *seen, *latent;
    dfe_place at;
    dfe_waiting below, now;
    union {
        dfe_trunk_place trunk; /* before the first layer */
        dfe_moving moving;
    } part;
} dfe_job;

/* As dfe_run_checked's arguments; a dfe_status. */
int dfe_begin(dfe_job *job, int call, const dfe_program *program, void *state, int32_t batch,
              const int8_t *x, const int32_t *y, void *first, void *second, void *arena,
              size_t arena_bytes);

/* The next part: DFE_MORE, or DFE_OK where it was the last.  The label-plane form is one part. */
int dfe_go(dfe_job *job);

#ifdef __cplusplus
}
#endif

#endif
