/* The hot loops, one set for each instruction set; all give the same bits as the portable one.
 *
 * Activations are 0..127, so they may be read as unsigned: an unsigned-by-signed product of bytes is
 * exact, and two of them fit int16.
 */
#ifndef DFE_LEVEL_H
#define DFE_LEVEL_H

#include "dfedge.h"

/* Tiles, and with them the stack: about 30 KB where vectors want them, 91 KB where convolutions are made
 * of packed weights (tile.h), 3 KB on a microcontroller. */
#if DFE_SMALL
enum { DFE_PIXELS = 4, DFE_OUTPUTS = 16, DFE_CHANNELS = 16, DFE_POSITIONS = 16 };
#else
enum { DFE_PIXELS = 6, DFE_OUTPUTS = 64, DFE_CHANNELS = 64, DFE_POSITIONS = 64 };
#endif

/* Weights [rows * run, O] as a convolution meets them: `rows` runs of taps times channels. */
typedef struct {
    const int8_t *weight;
    ptrdiff_t row_step;   /* from one row of taps to the next, in bytes of the weights */
    ptrdiff_t input_step; /* and of the input */
    int32_t rows, run, stride; /* stride: from one weight of a run to the next */
} dfe_taps_run;

/* Bytes of packed weights, for each weight of one output. */
enum { DFE_PANEL_WIDTH = 4 };

/* Rows of taps, as `dfe_panel_kernels.pack` has them. */
typedef struct {
    const int8_t *packed;
    ptrdiff_t packed_step; /* from one row of taps to the next, in bytes */
    ptrdiff_t input_step;
    int32_t rows, run;
} dfe_packed_rows;

/* Of a few outputs and many positions. */
typedef struct {
    int32_t outputs; /* that are packed together */
    int32_t group;   /* weights of one output that lie side by side */
    /* n weights of each of up to `outputs` outputs, `stride` apart -> bytes [n / group][outputs][group]
     * in an order of the set's own, DFE_PANEL_WIDTH / outputs a weight; n and the outputs are
     * filled up with zeros. */
    void (*pack)(const int8_t *w, ptrdiff_t stride, int32_t n, int32_t outputs, int8_t *packed);
    /* acc[p][o] = start[o] + sum over rows and runs of x[p * step] * w; acc [count][outputs], which
     * is added to where start is NULL. */
    void (*sums)(const int8_t *x, ptrdiff_t step, int32_t count, const dfe_packed_rows *rows,
                 const int32_t *start, int32_t *acc);
    /* out[p * step + o] = dfe_floored(acc[p][o], shift) */
    void (*floored)(const int32_t *acc, int32_t count, int32_t outputs, int32_t shift, int8_t *out,
                    ptrdiff_t step);
} dfe_panel_kernels;

typedef struct {
    const char *name;
    const dfe_panel_kernels *panel; /* NULL: none */
    /* acc[p][o] += sum over rows and runs of x[p] * w; acc [pixels][DFE_OUTPUTS]. */
    void (*multiply)(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                     int32_t outputs, int32_t *acc);
    /* The same of channels on their own: acc[p][o] += sum over rows and taps of x[p][o] * w[o], a tap
     * `stride` from the next in input and weights, `run` taps in a row. */
    void (*depthwise)(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                      int32_t outputs, int32_t *acc);
    /* out[o] = dfe_activation(acc[o], shift) */
    void (*activate)(const int32_t *acc, int32_t outputs, int32_t shift, int8_t *out);
    /* out[o] = dfe_scaled(acc[o], lift[o], limit[o], shift) */
    void (*scale)(const int32_t *acc, int32_t outputs, const int32_t *lift, const int32_t *limit,
                  int32_t shift, int8_t *out);
    /* acc[c][o] += sum over n of x[n][c] e[n][o]; e [n][DFE_OUTPUTS], rows up to a multiple of 4
     * zero; acc [DFE_CHANNELS][DFE_OUTPUTS]. */
    void (*correlate)(const int8_t *const *x, int32_t channels, const int8_t *e, int32_t n,
                      int32_t outputs, int32_t *acc);
    /* acc[c] += sum over i of e[i] w[c * step + i] */
    void (*dots)(const int8_t *e, int32_t n, const int8_t *w, ptrdiff_t step, int32_t channels,
                 int32_t *acc);
    /* w[i] = clamp(w[i] - R(acc[i], shift)), its dither at place + i * lattice. */
    void (*move)(const int32_t *acc, int32_t n, int32_t shift, uint32_t place, uint32_t lattice,
                 int8_t *w);
    /* out[i] = table[x[i]], table [DFE_LEVELS]; out may be x. */
    void (*lookup)(const int8_t *x, ptrdiff_t n, const int8_t *table, int8_t *out);
#if !DFE_SMALL
    const struct dfe_tile_kernels *tile; /* NULL: none */
#endif
} dfe_level;

/* One weight after the other. */
void dfe_move_plain(const int32_t *acc, int32_t n, int32_t shift, uint32_t place, uint32_t lattice,
                    int8_t *w);

/* Weights [channels][n], rows `step` apart, moved by the products x[c] e[i], of up to DFE_OUTPUTS errors. */
void dfe_move_by_products(const int8_t *x, int32_t channels, const int8_t *e, int32_t n,
                          ptrdiff_t step, int32_t shift, uint32_t place, int8_t *w);

/* One value after the other: what is left over. */
static inline void dfe_lookup_plain(const int8_t *x, ptrdiff_t n, const int8_t *table, int8_t *out) {
    for (ptrdiff_t i = 0; i < n; i++) out[i] = table[x[i] & (DFE_LEVELS - 1)];
}

#if !DFE_SMALL
extern const dfe_level dfe_portable;
#endif
#ifdef DFE_SCALAR
extern const dfe_level dfe_scalar;
#endif
#ifdef DFE_SIMD32
extern const dfe_level dfe_cortex_m;
#endif
#ifdef DFE_MVE
extern const dfe_level dfe_mve;
#endif
#if defined(__x86_64__) && !DFE_SMALL
#define DFE_X86 1
extern const dfe_level dfe_avx2, dfe_avx512;
void dfe_lookup_avx2(const int8_t *x, ptrdiff_t n, const int8_t *table, int8_t *out);
#endif
#if defined(__aarch64__) && !DFE_SMALL
#define DFE_ARM64 1 /* every such processor has NEON */
extern const dfe_level dfe_neon, dfe_dotprod;
#endif

/* The set in use. */
const dfe_level *dfe_level_now(void);

#endif
