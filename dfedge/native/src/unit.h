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
} dfe_run;

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

/* x -> h, before the pool; samples: with copies. */
void dfe_forward(const dfe_run *run, const dfe_layer *layer, int32_t samples, const int8_t *x,
                 const dfe_frame *frame);

/* Move every convolution by the error at the unit's output. */
void dfe_move(const dfe_run *run, const dfe_layer *layer, int32_t samples, const int8_t *x,
              const dfe_frame *frame, const dfe_error *error);

/* Make the own error of the layer under it the whole one, in `map`: with what this unit's own error
 * carries down. */
void dfe_down(const dfe_run *run, const dfe_layer *layer, int32_t samples, const dfe_frame *frame,
              const dfe_error *error, const dfe_layer *under, dfe_error *below, int8_t *map);

#endif
