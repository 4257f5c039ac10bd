/* Packed weights of a frozen trunk, made once for a program and read by all calls after that, which
 * else pack them anew. */
#ifndef DFE_KEPT_H
#define DFE_KEPT_H

#include "dfedge.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes for the set in use, of a table that dfe_check has found good. */
int64_t dfe_kept_bytes(const dfe_program *program);

/* Pack them, at a multiple of 64. */
void dfe_keep(const dfe_program *program, void *kept);

/* What an operation's dfe_scaling.kept is: NULL, too, where another set is in use now. */
const int8_t *dfe_kept_of(const void *kept, int32_t operation);

/* dfe_run_known with what was kept of the same program. */
int dfe_run_kept(int call, int64_t batch, const dfe_buffers *given, const void *kept);

#ifdef __cplusplus
}
#endif

#endif
