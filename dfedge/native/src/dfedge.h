/* The integer step of Distance-Forward learning in freestanding C99.
 *
 * dfedge/int8/__init__.py is the definition of every number here, dfedge/compile/step.py of the order.
 * Nothing is allocated: the caller gives one block of state and one arena.  All that a function
 * refuses it refuses before it writes.
 *
 * A program is one table: dfe_program, then its layers, their convolutions, the operations of
 * a frozen trunk, the values that they read, and the trunk's constants.  It is read where it lies, so it may
 * stay in flash.
 *
 * Nothing is shared but what is handed over: calls that only read a state (dfe_infer, dfe_features)
 * may run side by side, each with an arena of its own, while no call changes it.
 */
#ifndef DFEDGE_H
#define DFEDGE_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "layout.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of the numbers that a step gives: as dfedge/manifest.py has it. */
#define DFE_SEMANTICS 8

enum dfe_status {
    DFE_OK,
    DFE_BAD_ABI,     /* the table was made for another version of this library */
    DFE_BAD_PROGRAM, /* a field out of range, shapes that do not meet, an offset outside the state */
    DFE_BAD_BATCH,   /* a batch whose sums would not fit int32 */
    DFE_SMALL_ARENA,
    DFE_MISALIGNED, /* state or arena not at a multiple of DFE_ALIGN */
    DFE_BAD_INPUT,  /* a pixel outside 0..127 */
    DFE_BAD_LABEL,
    DFE_BAD_STATE, /* a value that learning can never reach */
    DFE_BAD_CALL,  /* an entry point that this program does not have */
    DFE_SMALL_TENSOR, /* a tensor holds less than the table says */
    DFE_MORE,         /* of a call in slices (job.h): it is not done; go on */
    DFE_BUSY,         /* NAME_begin_learn or NAME_begin_predict of an export is not done */
};

#define DFE_ALIGN 4

enum dfe_call { DFE_INFER, DFE_TRAIN, DFE_TRAIN_FROM, DFE_FEATURES };
/* Words of a program, a layer, a convolution and an operation: what a maker of tables checks its own layout
 * with. */
void dfe_layout(int32_t words[4]);

/* Bytes of a whole table, as its first structure says; negative where that cannot be one. */
int64_t dfe_table_bytes(const dfe_program *program);

/* Whether a table can be run at all. */
int dfe_check(const dfe_program *program);

/* Whether a state holds only values that learning can reach: what a file may bring must be. */
int dfe_check_state(const dfe_program *program, const void *state);

/* Bytes that a call needs for a batch; a negative dfe_status where it cannot be run. */
int64_t dfe_arena_bytes(const dfe_program *program, int call, int32_t batch);

/* scores int32 [batch, classes] of x int8 [batch, H, W, C]. */
int dfe_infer(const dfe_program *program, const void *state, int32_t batch, const int8_t *x,
              int32_t *scores, void *arena, size_t arena_bytes);

/* Learn one batch; scores int32 [batch, classes] are those before it, active int32 [layers]. */
int dfe_step(const dfe_program *program, void *state, int32_t batch, const int8_t *x,
             const int32_t *y, int32_t *scores, int32_t *active, void *arena, size_t arena_bytes);

/* The same from latents int8 [batch, H, W, C] of the first layer that learns. */
int dfe_step_from(const dfe_program *program, void *state, int32_t batch, const int8_t *z,
                  const int32_t *y, int32_t *scores, int32_t *active, void *arena,
                  size_t arena_bytes);

/* What each layer's anchors see, int8 [batch, d] one layer after the other, then the latent, where that is
 * wanted: not NULL. */
int dfe_features(const dfe_program *program, const void *state, int32_t batch, const int8_t *x,
                 int8_t *seen, int8_t *latent, void *arena, size_t arena_bytes);

/* Any of these calls with the size of every buffer, for a caller that may hand over a wrong one: the
 * operation of a runtime.  What a call does not take is ignored. */
typedef struct {
    void *at;
    int64_t bytes;
} dfe_buffer;

typedef struct {
    dfe_buffer program, state, x, y;
    dfe_buffer first, second; /* scores and active, or seen and latent */
    dfe_buffer arena;
} dfe_buffers;

int dfe_run_sized(int call, int64_t batch, const dfe_buffers *given);

/* The same of a table that dfe_check_sized has found good and that nobody has changed since. */
int dfe_run_known(int call, int64_t batch, const dfe_buffers *given);

/* dfe_check of a table that may be too short. */
int dfe_check_sized(dfe_buffer table);

/* The hot loops' instruction sets: name of number i, or NULL; choose one by number (0 is portable
 * C; DFE_BAD_CALL where this processor lacks it); the number in use. The best is used at first. */
const char *dfe_level_name(int32_t number);
int dfe_use_level(int32_t number);
int32_t dfe_level_used(void);

#ifdef __cplusplus
}
#endif

#endif
