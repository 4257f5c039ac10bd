/* A frozen trunk: one image at a time, from step to step, into the first layer's input. */
#ifndef DFE_TRUNK_H
#define DFE_TRUNK_H

#include "memory.h"

/* Of a value: 0 is the image, i + 1 what step i makes. */
dfe_shape dfe_value_shape(const dfe_program *program, int32_t value);

/* What a step reads, by its place in the list. */
int32_t dfe_value_read(const dfe_program *program, const dfe_frozen *step, int32_t number);

/* A step over windows of what it is given, as a convolution's sizes. */
dfe_conv dfe_windows(const dfe_frozen *step, dfe_shape given);

/* Rows of what it is given that a step needs for one row: 0 where it works value by value. */
static inline int32_t dfe_window_rows(const dfe_frozen *step) {
    int windows = step->kind == DFE_CONVOLVE || step->kind == DFE_MEAN || step->kind == DFE_LARGEST;
    return windows ? step->kernel_height : 0;
}

/* Steps that follow each other row by row, the last of which makes a whole map. */
enum { DFE_MAX_CHAIN = 8 };

/* Images int8 [batch, H, W, C] -> what the first layer receives. */
void dfe_trunk(const dfe_program *program, int32_t batch, const int8_t *x, int8_t *workspace,
               int8_t *latent);

/* dfe_check's part. */
int dfe_good_trunk(const dfe_program *program);

#endif
