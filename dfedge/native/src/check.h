/* What is refused at entry. */
#ifndef DFE_CHECK_H
#define DFE_CHECK_H

#include "memory.h"

/* Values of the input of a call. */
int64_t dfe_input_values(const dfe_program *program, int call, int32_t batch);

/* Everything that a call is given, checked before anything is written; fills `memory`. */
int dfe_check_call(const dfe_program *program, const void *state, int call, int32_t batch,
                   const int8_t *x, const int32_t *y, const void *arena, size_t arena_bytes,
                   dfe_memory *memory);

#endif
