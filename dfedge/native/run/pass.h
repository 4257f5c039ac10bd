/* One pass over a file of images: answers, or learning. */
#ifndef DFE_RUN_PASS_H
#define DFE_RUN_PASS_H

#include "image.h"
#include "options.h"

/* Bytes of the arena of a call; ends where the program cannot sum so many samples. */
int64_t dfe_arena_of(const dfe_net *net, int call, int32_t batch);

/* Gives the exit code. */
int dfe_pass(dfe_net *net, const dfe_options *options);

#endif
