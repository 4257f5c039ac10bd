/* Convolutions of many positions, on a microcontroller: the weights of a few outputs are packed once,
 * in the order in which they are multiplied, and then serve every position. */
#ifndef DFE_PANEL_H
#define DFE_PANEL_H

#include "task.h"

/* Weights of one output that have room at a time: of a layer; of a small one, and of a trunk's
 * convolution, which lies deeper in the stack. */
#ifdef DFE_PORTABLE /* which may run on a core that needs more stack for the rest */
enum { DFE_PANEL_LARGE = 512, DFE_PANEL_SMALL = 128 };
#else
enum { DFE_PANEL_LARGE = 576, DFE_PANEL_SMALL = 128 };
#endif

/* Fewer positions are not worth packing for. */
enum { DFE_PANEL_LEAST = 4 };

/* room: DFE_PANEL_WIDTH bytes for each of `weights`, at a multiple of 4. */
void dfe_panel_convolve(dfe_task *task, int32_t batch, const int8_t *x, int8_t *room,
                        int32_t weights);

#endif
