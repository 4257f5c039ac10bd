/* One local learning unit: forward, its error carried down, its convolutions moved. */
#ifndef DFE_UNIT_H
#define DFE_UNIT_H

#include "arithmetic.h"
#include "carry.h"
#include "memory.h"

/* One call: what all layers share. */
typedef struct {
    const dfe_program *program;
    uint8_t *state;
    uint8_t *arena;
    dfe_memory memory;
    uint32_t phase;
    int32_t slowing; /* of this step's weights and anchors */
    int32_t sliced;  /* a part at a time */
#if !DFE_SMALL
    const void *kept; /* packed weights of the trunk (kept.h), or NULL */
#endif
} dfe_run;

#if DFE_SMALL /* there are none */
#define DFE_KEPT(run) NULL
#define DFE_KEEP(run, weights) ((void)(weights))
#else
#define DFE_KEPT(run) ((run)->kept)
#define DFE_KEEP(run, weights) ((run)->kept = (weights))
#endif

static inline int8_t *dfe_bytes(const dfe_run *run, int32_t offset) {
    return (int8_t *)run->state + offset;
}

static inline int32_t *dfe_words(const dfe_run *run, int32_t offset) {
    return (int32_t *)(void *)(run->state + offset);
}

/* A learning rate; clamped, so that not even tensors that overlap in a damaged table can harm. */
static inline int32_t dfe_rate(const dfe_run *run, int32_t offset, int32_t number) {
    int32_t shift = dfe_clamp(dfe_bytes(run, offset)[number], 0, DFE_MAX_UPDATE_SHIFT);
    return dfe_clamp(shift + run->slowing, 0, DFE_MAX_UPDATE_SHIFT);
}

/* Where a layer's work goes on: a convolution, and of it an output, a row or a strip.  What follows does the
 * next part, or all that is left where the run is not in slices, and gives 1 where that was the last. */
typedef struct {
    int32_t conv, next;
} dfe_place;

/* x -> h, before the pool; samples: with copies.  Begins at {0, 0}. */
int dfe_forward(const dfe_run *run, const dfe_layer *layer, int32_t samples, const int8_t *x,
                const dfe_frame *frame, dfe_place *at);

/* An error on its way down through a layer. */
typedef struct {
    dfe_error own, at, below; /* at the unit's output, at the convolution's, and at what it receives */
    dfe_place place;
    int32_t carried; /* below is there */
} dfe_moving;

dfe_moving dfe_begin_moving(const dfe_layer *layer, const dfe_error *error);

/* Move every convolution by the error at the unit's output. */
int dfe_move(const dfe_run *run, const dfe_layer *layer, int32_t samples, const int8_t *x,
             const dfe_frame *frame, dfe_moving *m);

/* Make the own error of the layer under it the whole one, in `map`: with what this unit's own error
 * carries down. */
int dfe_down(const dfe_run *run, const dfe_layer *layer, int32_t samples, const dfe_frame *frame,
             const dfe_layer *under, dfe_error *below, int8_t *map, dfe_moving *m);

#endif
