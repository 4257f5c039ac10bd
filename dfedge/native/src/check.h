/* What is refused at entry. */
#ifndef DFE_CHECK_H
#define DFE_CHECK_H

#include "memory.h"

static inline int dfe_within(int32_t v, int32_t low, int32_t high) { return v >= low && v <= high; }

/* Whether sizes are such that no index of a map wraps. */
int dfe_good_shape(dfe_shape s);

/* Whether the sizes of a convolution, or of other windows, make sense at all. */
int dfe_good_geometry(const dfe_conv *c, int32_t most_taps);

/* Values of the input of a call. */
int64_t dfe_input_values(const dfe_program *program, int call, int32_t batch);

/* Lay out a call of a table that is good, or refuse it. */
int dfe_plan_call(const dfe_program *program, int call, int32_t batch, dfe_memory *memory);

/* Everything that a call of such a table is given, checked before anything is written; fills
 * `memory`. */
int dfe_check_call(const dfe_program *program, const void *state, int call, int32_t batch,
                   const int8_t *x, const int32_t *y, const void *arena, size_t arena_bytes,
                   dfe_memory *memory);

/* Any call of a table that is good: what the calls of dfedge.h are after dfe_check.  kept: packed
 * weights of its trunk (kept.h), or NULL. */
int dfe_run_checked(int call, const dfe_program *program, void *state, int32_t batch,
                    const int8_t *x, const int32_t *y, void *first, void *second, void *arena,
                    size_t arena_bytes, const void *kept);

#endif
