/* The integer step of Distance-Forward learning in freestanding C99.
 *
 * dfedge/int8/__init__.py is the definition of every number here, dfedge/lower/step.py of the order.
 * Nothing is allocated: the caller gives one block of state and one arena.  All that a function
 * refuses it refuses before it writes.
 *
 * A program is one table: dfe_program, then its layers, their convolutions, the steps of a frozen
 * trunk, the values that they read, and the trunk's constants.  It is read where it lies, so it may
 * stay in flash.
 *
 * Nothing is shared but what is handed over: calls that only read a state (dfe_infer, dfe_features)
 * may run side by side, each with an arena of its own, while no call changes it.
 */
#ifndef DFEDGE_H
#define DFEDGE_H

#include <stddef.h>
#include <stdint.h>

#define DFE_ABI 6

/* Of the numbers that a step gives: as dfedge/manifest.py has it. */
#define DFE_SEMANTICS 6

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
};

#define DFE_ALIGN 4

enum dfe_rule { DFE_DF, DFE_DF_O, DFE_DF_R, DFE_DF_R_CONCORDANT };
enum dfe_form { DFE_ONE_PASS, DFE_LABEL_PLANE };
enum dfe_call { DFE_INFER, DFE_TRAIN, DFE_TRAIN_FROM, DFE_FEATURES };
enum dfe_kind {
    DFE_CONVOLVE, DFE_SURROUND, DFE_MIX, DFE_GATE, DFE_SWISH, DFE_MEAN, DFE_LARGEST, DFE_CONCAT
};

/* See dfedge/plan.py; offsets are bytes into the state, -1 where a tensor does not exist. */
typedef struct {
    int32_t height, width, in_channels, channels;
    int32_t kernel_height, kernel_width, stride;
    int32_t top, bottom, left, right;
    int32_t depthwise, shift, back;
    int32_t weight, bias, feedback;
} dfe_conv;

typedef struct {
    int32_t first, convs; /* its convolutions in the table */
    int32_t joined; /* convolutions of a residual layer's inner branch; 0: no residual layer */
    int32_t lift, skip_lift, back_lift, skip_back_lift;
    int32_t pool, mean, cells, gain, score_shift, margin, pull, separation, counted;
    int32_t norm_high, norm_low, norm_shift;
    int32_t anchors;
} dfe_layer;

/* One step of a frozen trunk, see dfedge/trunk.py; what its kind has no use for is zero. */
typedef struct {
    int32_t kind, first, reads;      /* numbers of values, in the table's list */
    int32_t height, width, channels; /* of what it makes */
    int32_t place;                   /* of that in the workspace; the last one's is elsewhere */
    int32_t rows; /* 0: a whole map; else as many rows at a time, for the next step alone */
    int32_t kernel_height, kernel_width, stride;
    int32_t top, bottom, left, right, depthwise;
    int32_t zero, other_zero, factor, other, offset, shift;
    int32_t slope, half, bend;
    int32_t weight, bias, lift, limit; /* bytes into the constants */
} dfe_frozen;

typedef struct {
    int32_t abi, state_bytes, layers, convs;
    int32_t steps, reads, constant_bytes, workspace; /* of the trunk; workspace: bytes of an image */
    int32_t height, width, channels;                 /* of the image */
    int32_t classes, rule, form, negatives, cut;
    int32_t live, weight_shift, bias_shift, anchor_shift, phase, error, usual_error, pace, planes;
} dfe_program;

/* Words of a program, a layer, a convolution and a step: what a maker of tables checks its own layout
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

/* What each layer's anchors see, int8 [batch, d] one layer after the other, then the latent. */
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

/* dfe_check of a table that may be too short. */
int dfe_check_sized(dfe_buffer table);

/* The hot loops' instruction sets: name of number i, or NULL; choose one by number (0 is portable
 * C; DFE_BAD_CALL where this processor lacks it); the number in use. The best is used at first. */
const char *dfe_level_name(int32_t number);
int dfe_use_level(int32_t number);
int32_t dfe_level_used(void);

#endif
