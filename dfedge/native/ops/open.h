/* A program (.pte) in ExecuTorch's own C++ runtime, for callers in C or by ctypes: no torch, no Python.
 *
 * Statuses are ExecuTorch's error codes, 0 when done; dfe_last_status tells the interpreter's, of the
 * thread's own last call.  dfe_register comes first.  One thread at a time calls a program.
 */
#ifndef DFEDGE_OPEN_H
#define DFEDGE_OPEN_H

#ifdef __cplusplus
extern "C" {
#endif

#include "dfedge.h"

int dfe_register(void);
int dfe_last_status(void);

/* Load every method of a file; they share one block of state and one arena.  NULL: see status. */
void *dfe_open(const char *path, int *status);

/* Run a method.  Every buffer holds exactly the bytes that the program says, in the order of its
 * arguments and results.  Inputs are read where they lie, results are copied. */
int dfe_run(void *program, const char *method, const dfe_buffer *inputs, int32_t input_count,
            const dfe_buffer *results, int32_t result_count);

void dfe_close(void *program);

#ifdef __cplusplus
}
#endif
#endif
