/* A frozen trunk: one image at a time, from operation to operation, into the first layer's input. */
#ifndef DFE_TRUNK_H
#define DFE_TRUNK_H

#include "geometry.h"
#include "memory.h"

/* One image on its way. */
typedef struct {
    const dfe_program *program;
    const int8_t *x;
    int8_t *workspace, *latent;
    const void *kept; /* packed weights (kept.h), or NULL */
} dfe_image;

/* Of a value: 0 is the image, i + 1 what operation i makes. */
dfe_shape dfe_value_shape(const dfe_program *program, int32_t value);
const int8_t *dfe_value(const dfe_image *image, int32_t value);

/* What an operation reads, by its place in the list. */
int32_t dfe_value_read(const dfe_program *program, const dfe_operation *op, int32_t number);

/* An operation over windows of what it is given, as a convolution's sizes. */
dfe_conv dfe_windows(const dfe_operation *op, dfe_shape given);

/* Where a trunk's work goes on. */
typedef struct {
    int32_t image, number, next; /* of an operation: an output or a row */
    dfe_span rows[DFE_MAX_CHAIN]; /* of each value of a chain, those that lie in its place */
} dfe_trunk_place;

/* The next part of `dfe_trunk`: an operation, where it is sliced some outputs or a row of it; 1: it was the
 * last. */
int dfe_trunk_some(const dfe_program *program, int32_t batch, const int8_t *x, int8_t *workspace,
                   int8_t *latent, dfe_trunk_place *at, int sliced, const void *kept);

/* Images int8 [batch, H, W, C] -> what the first layer receives. */
void dfe_trunk(const dfe_program *program, int32_t batch, const int8_t *x, int8_t *workspace,
               int8_t *latent);

/* dfe_check's part. */
int dfe_good_trunk(const dfe_program *program);

#endif
