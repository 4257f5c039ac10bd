/* Convolutions of many positions, on a microcontroller: the weights of a few outputs are packed once,
 * in the order in which they are multiplied, and then serve every position. */
#ifndef DFE_PANEL_H
#define DFE_PANEL_H

#include "task.h"

/* Weights of one output that have room at a time, on the stack: as many as a layer needs, and the
 * fewest in a trunk, which lies deeper.  The plain loops may run on a core that needs more for the rest. */
enum { DFE_PANEL_SMALL = 128, DFE_PANEL_MEDIUM = 256 };
#ifdef DFE_SCALAR
enum { DFE_PANEL_LARGE = 512 };
#else
enum { DFE_PANEL_LARGE = 576 };
#endif

/* Fewer positions are not worth packing for. */
enum { DFE_PANEL_LEAST = 4 };

/* room: DFE_PANEL_WIDTH bytes for each of `weights`, at a multiple of 4. */
void dfe_panel_convolve(dfe_task *task, int32_t batch, const int8_t *x, int8_t *room,
                        int32_t weights);

#endif
