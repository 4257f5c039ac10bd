/* Where everything lies in the arena.
 *
 * Under rule df two layers' activations are alive at any time, the input at one end of the arena and
 * the output at the other; a pool shrinks the output where it lies.  Under df-o and df-r a layer
 * waits for the one above: three layers take turns in three slots, beside one error map.
 *
 * Of a chain of three convolutions the error at the first one's output takes the place of the second
 * one's output, which is read for the last time when the third has moved; a layer that waits carries
 * its error down before it moves, and has room for both.
 *
 * What a trunk makes of all images lies at the arena's low end, as the first layer's input; behind it
 * the workspace, where the layers will be.
 */
#ifndef DFE_MEMORY_H
#define DFE_MEMORY_H

#include "pool.h"

enum { DFE_SLOTS = 3, DFE_CHAIN = 3 };

typedef struct {
    int32_t call, batch, copies, waits; /* waits: the slots are used */
    int64_t activations;                /* bytes of the two ends, or of the three slots */
    int64_t slot[DFE_SLOTS];            /* offsets */
    int64_t error_map, inner_map, features, acts, verdicts, scratch, bytes;
    int64_t feature_bytes; /* of one layer */
    int64_t workspace;     /* of the trunk */
} dfe_memory;

/* One layer's buffers. */
typedef struct {
    int8_t *inner[DFE_CHAIN - 1]; /* outputs of its convolutions, the last one's apart */
    int8_t *map[DFE_CHAIN - 1];   /* the errors there */
    int8_t *h;
    int8_t *handed; /* what the next layer receives: h itself, or its pool */
} dfe_frame;

const dfe_layer *dfe_layers(const dfe_program *program);
const dfe_conv *dfe_convs(const dfe_program *program, const dfe_layer *layer);
const dfe_operation *dfe_operations(const dfe_program *program);
const int32_t *dfe_reads(const dfe_program *program);
const int8_t *dfe_constants(const dfe_program *program);
/* Convolutions that follow one another; one more is that of the skipped input. */
int32_t dfe_chain(const dfe_layer *layer);
/* The convolution whose output is the layer's. */
const dfe_conv *dfe_ends(const dfe_program *program, const dfe_layer *layer);
dfe_shape dfe_output(const dfe_program *program, const dfe_layer *layer);
/* What a layer hands on. */
dfe_shape dfe_handed(const dfe_program *program, const dfe_layer *layer);
/* What the first layer that learns receives. */
dfe_shape dfe_latent(const dfe_program *program);
int32_t dfe_feature_count(const dfe_program *program, const dfe_layer *layer);

/* Lay out a call; bytes is what it needs. */
dfe_memory dfe_plan_memory(const dfe_program *program, int call, int32_t batch);

dfe_frame dfe_frame_of(const dfe_program *program, const dfe_memory *memory, uint8_t *arena,
                       int32_t layer);

#endif
