/* Convolutions of many positions, where vectors are wide: the weights of a panel of outputs are packed
 * once, in the order in which they are multiplied, and then serve every position. */
#ifndef DFE_TILE_H
#define DFE_TILE_H

#include "task.h"

/* Of a panel: its packed weights, and what becomes of a sum; int32 in the order of `order`. */
typedef struct {
    int32_t registers, outputs; /* that hold its outputs, and these */
    int32_t shift;
    const int8_t *packed; /* all of it */
    const int32_t *start, *lift, *limit; /* lift: NULL where the shift is all there is */
} dfe_panel;

/* Windows that lie `step` apart: `rows` rows of `run` values, a multiple of 4. */
typedef struct {
    const int8_t *x, *packed;
    ptrdiff_t step, input_step;
    int32_t rows, run;
} dfe_window_run;

/* One row of outputs of channels on their own, and the columns of what is given that they see. */
typedef struct {
    const int8_t *x;                  /* the first tap of column 0 */
    ptrdiff_t row, column;            /* from one row and column to the next */
    dfe_span rows;                    /* of taps, that lie inside */
    int32_t height, wide;             /* of the kernel */
    int32_t first, width, stride;     /* the first output's first column, and how many there are */
} dfe_column_run;

enum { DFE_TILE_REGISTERS = 4, DFE_TILE_POSITIONS = 14 };

typedef struct dfe_tile_kernels {
    int32_t lanes;                         /* outputs of a register */
    int32_t most[DFE_TILE_REGISTERS + 1]; /* positions at a time, for so many registers */
    /* n weights of each of `outputs` outputs, rows of them `stride` apart; n filled up with zeros to a
     * multiple of 4, the outputs to whole registers. */
    void (*pack)(const int8_t *w, ptrdiff_t stride, int32_t n, int32_t outputs, int32_t registers,
                 int8_t *packed);
    /* A number for each output; those beyond `outputs` are zero. */
    void (*order)(const int32_t *given, int32_t outputs, int32_t registers, int32_t *ordered);
    /* to[p][o] = what becomes of start[o] + the sum over p's window of x * w. */
    void (*make)(const dfe_window_run *in, int32_t count, const dfe_panel *panel, int8_t *const *to);
    /* A row of `count` outputs, `step` apart, of channels on their own; the weights of one column of taps
     * after the other, as they are packed. */
    void (*depthwise)(const dfe_column_run *in, int32_t count, const dfe_panel *panel, int8_t *to,
                      ptrdiff_t step);
} dfe_tile_kernels;

#ifdef DFE_X86
extern const dfe_tile_kernels dfe_avx2_tile, dfe_avx512_tile;
#endif
#ifdef DFE_ARM64
extern const dfe_tile_kernels dfe_neon_tile, dfe_dotprod_tile;
#endif

/* Panels of a convolution whose weights stay as they are, packed once: bytes, 0 where it is not made in
 * tiles; and packed, at a multiple of 64, for dfe_scaling.kept. */
int64_t dfe_tile_bytes(const dfe_task *task);
void dfe_tile_keep(const dfe_task *task, int8_t *kept);

/* The whole convolution, if it is one that packed weights make faster; else 0, and nothing is done. */
int dfe_in_tiles(const dfe_task *task, int32_t batch, const int8_t *x);

#endif
