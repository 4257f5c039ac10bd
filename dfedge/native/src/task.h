/* A convolution forward with all that it reads and writes. */
#ifndef DFE_TASK_H
#define DFE_TASK_H

#include "convolve.h"
#include "geometry.h"
#include "level.h"

typedef struct {
    const dfe_conv *conv;
    int32_t groups; /* each convolves its own channels to its own outputs */
    const int8_t *w;
    const int32_t *b;
    const dfe_skip *skip;       /* NULL: none */
    const dfe_scaling *scaling; /* NULL: conv->shift is every channel's */
    int8_t *h;
    dfe_span rows, columns; /* of the kernel: the window */
    dfe_span outputs;       /* that are made */
} dfe_task;

#endif
