/* The hot loops over MVE (Helium), of a Cortex-M55 or M85: sixteen products of bytes are added to one
 * sum, or four sums stand side by side. */
#include "arithmetic.h"
#include "level.h"

#ifdef DFE_MVE

#include <arm_mve.h>

enum { LANES = 4, WIDE = 16 };

static mve_pred16_t words(int32_t n) { return vctp32q((uint32_t)n); }
static mve_pred16_t bytes(int32_t n) { return vctp8q((uint32_t)n); }

/* -- a few positions: outputs side by side --------------------------------------------------------- */

static void multiply_wide(const int8_t *x, const dfe_taps_run *taps, int32_t *acc) {
    int32x4_t a = vld1q_s32(acc), b = vld1q_s32(acc + 4);
    int32x4_t c = vld1q_s32(acc + 8), d = vld1q_s32(acc + 12);
    ptrdiff_t stride = taps->stride;
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *seen = x + r * taps->input_step, *end = seen + taps->run;
        const int8_t *w = taps->weight + r * taps->row_step;
        for (; seen < end; w += stride) {
            int32_t v = *seen++;
            if (v == 0) continue;
            a = vmlaq_n_s32(a, vldrbq_s32(w), v);
            b = vmlaq_n_s32(b, vldrbq_s32(w + 4), v);
            c = vmlaq_n_s32(c, vldrbq_s32(w + 8), v);
            d = vmlaq_n_s32(d, vldrbq_s32(w + 12), v);
        }
    }
    vst1q_s32(acc, a);
    vst1q_s32(acc + 4, b);
    vst1q_s32(acc + 8, c);
    vst1q_s32(acc + 12, d);
}

static void multiply_some(const int8_t *x, const dfe_taps_run *taps, int32_t o, int32_t outputs,
                          int32_t *acc) {
    mve_pred16_t here = words(outputs - o);
    int32x4_t sum = vldrwq_z_s32(acc + o, here);
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *seen = x + r * taps->input_step, *end = seen + taps->run;
        const int8_t *w = taps->weight + r * taps->row_step + o;
        for (; seen < end; seen++, w += taps->stride)
            sum = vmlaq_n_s32(sum, vldrbq_z_s32(w, here), *seen);
    }
    vstrwq_p_s32(acc + o, sum, here);
}

/* Sums of four outputs. */
typedef struct {
    int32_t a, b, c, d;
} four;

/* Where words of four outputs lie that are `stride` bytes apart. */
static inline uint32x4_t places(ptrdiff_t stride) {
    return vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)stride);
}

/* Up to four such words of n. */
static inline void gather(const int8_t *w, uint32x4_t place, int32_t n, int32_t *to) {
    const int32_t *at = (const int32_t *)(const void *)w;
    if (n >= LANES) vst1q_s32(to, vldrwq_gather_offset_s32(at, place));
    else vst1q_s32(to, vldrwq_gather_offset_z_s32(at, place, words(n < 0 ? 0 : n)));
}

/* Sixteen of them, of which n are here and the others zero, become four outputs of sixteen. */
static inline int8x16x4_t four_columns(const int8_t *w, ptrdiff_t stride, uint32x4_t place, int32_t n) {
    int32_t found[WIDE];
    gather(w, place, n, found);
    gather(w + 4 * stride, place, n - 4, found + 4);
    gather(w + 8 * stride, place, n - 8, found + 8);
    gather(w + 12 * stride, place, n - 12, found + 12);
    return vld4q_s8((const int8_t *)found);
}

static inline four add_columns(four sum, int8x16_t x, const int8_t *w, ptrdiff_t stride,
                               uint32x4_t place, int32_t n) {
    int8x16x4_t column = four_columns(w, stride, place, n);
    sum.a = vmladavaq_s8(sum.a, x, column.val[0]);
    sum.b = vmladavaq_s8(sum.b, x, column.val[1]);
    sum.c = vmladavaq_s8(sum.c, x, column.val[2]);
    sum.d = vmladavaq_s8(sum.d, x, column.val[3]);
    return sum;
}

/* Four outputs, sixteen inputs at a time, weights at whole words. */
static void multiply_deep(const int8_t *x, const dfe_taps_run *taps, const int8_t *weight,
                          int32_t *acc) {
    four sum = {acc[0], acc[1], acc[2], acc[3]};
    ptrdiff_t stride = taps->stride;
    uint32x4_t place = places(stride);
    int32_t whole = taps->run & -WIDE, rest = taps->run % WIDE;
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *seen = x + r * taps->input_step, *end = seen + whole;
        const int8_t *w = weight + r * taps->row_step;
        for (; seen < end; seen += WIDE, w += WIDE * stride)
            sum = add_columns(sum, vld1q_s8(seen), w, stride, place, WIDE);
        if (rest) sum = add_columns(sum, vldrbq_z_s8(seen, bytes(rest)), w, stride, place, rest);
    }
    acc[0] = sum.a;
    acc[1] = sum.b;
    acc[2] = sum.c;
    acc[3] = sum.d;
}

static int whole_words(const int8_t *w, ptrdiff_t stride) {
    return ((uintptr_t)w | (uintptr_t)stride) % sizeof(int32_t) == 0;
}

static void multiply(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                     int32_t outputs, int32_t *acc) {
    int deep = taps->run >= WIDE && outputs % LANES == 0 &&
               whole_words(taps->weight, taps->stride | taps->row_step);
    for (int32_t p = 0; p < pixels; p++, acc += DFE_OUTPUTS)
        if (deep)
            for (int32_t o = 0; o < outputs; o += LANES)
                multiply_deep(x[p], taps, taps->weight + o, acc + o);
        else if (outputs == WIDE) multiply_wide(x[p], taps, acc);
        else
            for (int32_t o = 0; o < outputs; o += LANES) multiply_some(x[p], taps, o, outputs, acc);
}

/* sum += x w of four channels */
static inline int32x4_t add_four(int32x4_t sum, const int8_t *x, const int8_t *w) {
    return vaddq_s32(sum, vmulq_s32(vldrbq_s32(x), vldrbq_s32(w)));
}

static void depthwise_wide(const int8_t *x, const dfe_taps_run *taps, int32_t *acc) {
    int32x4_t a = vld1q_s32(acc), b = vld1q_s32(acc + 4);
    int32x4_t c = vld1q_s32(acc + 8), d = vld1q_s32(acc + 12);
    ptrdiff_t stride = taps->stride;
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *seen = x + r * taps->input_step, *w = taps->weight + r * taps->row_step;
        for (int32_t k = taps->run; k > 0; k--, seen += stride, w += stride) {
            a = add_four(a, seen, w);
            b = add_four(b, seen + 4, w + 4);
            c = add_four(c, seen + 8, w + 8);
            d = add_four(d, seen + 12, w + 12);
        }
    }
    vst1q_s32(acc, a);
    vst1q_s32(acc + 4, b);
    vst1q_s32(acc + 8, c);
    vst1q_s32(acc + 12, d);
}

static void depthwise_some(const int8_t *x, const dfe_taps_run *taps, int32_t o, int32_t outputs,
                           int32_t *acc) {
    mve_pred16_t here = words(outputs - o);
    int32x4_t sum = vldrwq_z_s32(acc + o, here);
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *seen = x + r * taps->input_step + o;
        const int8_t *w = taps->weight + r * taps->row_step + o;
        for (int32_t k = taps->run; k > 0; k--, seen += taps->stride, w += taps->stride)
            sum = vaddq_s32(sum, vmulq_s32(vldrbq_z_s32(seen, here), vldrbq_z_s32(w, here)));
    }
    vstrwq_p_s32(acc + o, sum, here);
}

static void depthwise(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                      int32_t outputs, int32_t *acc) {
    for (int32_t p = 0; p < pixels; p++, acc += DFE_OUTPUTS)
        if (outputs == WIDE) depthwise_wide(x[p], taps, acc);
        else
            for (int32_t o = 0; o < outputs; o += LANES)
                depthwise_some(x[p], taps, o, outputs, acc);
}

static int32x4_t floor_of(int32x4_t v, int32_t shift) {
    return vminq_s32(vmaxq_s32(vshlq_r_s32(v, -shift), vdupq_n_s32(0)), vdupq_n_s32(DFE_MAX));
}

static void activate(const int32_t *acc, int32_t outputs, int32_t shift, int8_t *out) {
    for (int32_t o = 0; o < outputs; o += LANES) {
        mve_pred16_t here = words(outputs - o);
        int32x4_t v = vaddq_n_s32(vldrwq_z_s32(acc + o, here), dfe_half(shift));
        vstrbq_p_s32(out + o, floor_of(v, shift), here);
    }
}

static void scale(const int32_t *acc, int32_t outputs, const int32_t *lift, const int32_t *limit,
                  int32_t shift, int8_t *out) {
    for (int32_t o = 0; o < outputs; o += LANES) {
        mve_pred16_t here = words(outputs - o);
        int32x4_t v = vmaxq_s32(vldrwq_z_s32(acc + o, here), vdupq_n_s32(0));
        v = vminq_s32(v, vldrwq_z_s32(limit + o, here));
        v = vaddq_n_s32(vmulq_s32(v, vldrwq_z_s32(lift + o, here)), dfe_half(shift));
        vstrbq_p_s32(out + o, floor_of(v, shift), here);
    }
}

/* -- packed weights: [n / 16] times four outputs of sixteen -------------------------------------- */

enum { OUT = 4, GROUP = 16 };

static void pack(const int8_t *w, ptrdiff_t stride, int32_t n, int32_t outputs, int8_t *packed) {
    int whole = outputs == OUT && whole_words(w, stride);
    for (; n > 0; n -= GROUP, w += GROUP * stride, packed += OUT * GROUP) {
        if (whole) {
            int8x16x4_t column = four_columns(w, stride, places(stride), n);
            for (int o = 0; o < OUT; o++) vst1q_s8(packed + o * GROUP, column.val[o]);
            continue;
        }
        for (int32_t o = 0; o < OUT; o++)
            for (int32_t i = 0; i < GROUP; i++)
                packed[o * GROUP + i] = o < outputs && i < n ? w[i * stride + o] : 0;
    }
}

/* `run` values at x: sixteen at a time, of the last ones as many as there are.  Ten instructions for
 * 64 products. */
static inline four add(four sum, const int8_t *x, const int8_t *packed, int32_t run) {
    __asm__("dlstp.8 lr, %[n]\n"
            "0:\n"
            "vldrb.8 q0, [%[x]], #16\n"
            "vldrb.8 q1, [%[w]], #16\n"
            "vmladava.s8 %[a], q0, q1\n"
            "vldrb.8 q1, [%[w]], #16\n"
            "vmladava.s8 %[b], q0, q1\n"
            "vldrb.8 q1, [%[w]], #16\n"
            "vmladava.s8 %[c], q0, q1\n"
            "vldrb.8 q1, [%[w]], #16\n"
            "vmladava.s8 %[d], q0, q1\n"
            "letp lr, 0b\n"
            : [x] "+r"(x), [w] "+r"(packed), [a] "+Te"(sum.a), [b] "+Te"(sum.b), [c] "+Te"(sum.c),
              [d] "+Te"(sum.d)
            : [n] "r"(run)
            : "q0", "q1", "lr", "cc", "memory");
    return sum;
}

static void sums(const int8_t *x, ptrdiff_t step, int32_t count, const dfe_packed_rows *rows,
                 const int32_t *start, int32_t *acc) {
    dfe_packed_rows of = *rows;
    for (int32_t *end = acc + count * OUT; acc < end; acc += OUT, x += step) {
        const int32_t *from = start ? start : acc;
        four sum = {from[0], from[1], from[2], from[3]};
        const int8_t *seen = x, *packed = of.packed;
        for (int32_t r = of.rows; r > 0; r--, seen += of.input_step, packed += of.packed_step)
            sum = add(sum, seen, packed, of.run);
        acc[0] = sum.a;
        acc[1] = sum.b;
        acc[2] = sum.c;
        acc[3] = sum.d;
    }
}

static void floored(const int32_t *acc, int32_t count, int32_t outputs, int32_t shift, int8_t *out,
                    ptrdiff_t step) {
    mve_pred16_t here = words(outputs);
    for (; count > 0; count--, acc += OUT, out += step)
        vstrbq_p_s32(out, floor_of(vld1q_s32(acc), shift), here);
}

static const dfe_panel_kernels panel = {OUT, GROUP, pack, sums, floored};

/* -- what learns: positions side by side ----------------------------------------------------------- */

/* Sixteen rows of sixteen bytes, columns first. */
typedef int8_t tile[WIDE * WIDE];

/* Where the bytes of a row lie among columns. */
static uint8x16_t columns(void) { return vmulq_n_u8(vidupq_n_u8(0, 1), WIDE); }

/* Sixteen positions of every channel; outputs in quads: 13 instructions for 64 products. */
static void correlate_wide(const int8_t *x, int32_t channels, const int8_t *e, int32_t outputs,
                           int32_t *acc) {
    int32_t quads = (outputs + LANES - 1) / LANES;
    for (; channels > 0; channels--, x += WIDE, acc += DFE_OUTPUTS) {
        const int8_t *error = e;
        int32_t *sum = acc, a, b, c, d;
        __asm__ volatile("dls lr, %[n]\n"
                         "0:\n"
                         "ldrd %[a], %[b], [%[sum]]\n"
                         "ldrd %[c], %[d], [%[sum], #8]\n"
                         "vldrb.8 q0, [%[e]], #16\n"
                         "vmladava.s8 %[a], %q[x], q0\n"
                         "vldrb.8 q0, [%[e]], #16\n"
                         "vmladava.s8 %[b], %q[x], q0\n"
                         "vldrb.8 q0, [%[e]], #16\n"
                         "vmladava.s8 %[c], %q[x], q0\n"
                         "vldrb.8 q0, [%[e]], #16\n"
                         "vmladava.s8 %[d], %q[x], q0\n"
                         "strd %[a], %[b], [%[sum]], #8\n"
                         "strd %[c], %[d], [%[sum]], #8\n"
                         "le lr, 0b\n"
                         : [e] "+r"(error), [sum] "+r"(sum), [a] "=&Te"(a), [b] "=&Te"(b),
                           [c] "=&Te"(c), [d] "=&Te"(d)
                         : [n] "r"(quads), [x] "w"(vld1q_s8(x))
                         : "q0", "lr", "cc", "memory");
    }
}

/* Of up to sixteen positions: what lies beyond them is multiplied by zero. */
static void correlate(const int8_t *const *x, int32_t channels, const int8_t *e, int32_t n,
                      int32_t outputs, int32_t *acc) {
    tile seen, error;
    uint8x16_t place = columns();
    mve_pred16_t here = bytes(outputs);
    if (n < WIDE)
        for (int32_t i = 0; i < WIDE; i++) vst1q_s8(error + i * WIDE, vdupq_n_s8(0));
    for (int32_t i = 0; i < n; i++)
        vstrbq_scatter_offset_s8(error + i, place, vldrbq_z_s8(e + i * DFE_OUTPUTS, here));
    for (int32_t c = 0; c < channels; c += WIDE) {
        int32_t wide = channels - c < WIDE ? channels - c : WIDE;
        here = bytes(wide);
        for (int32_t i = 0; i < n; i++)
            vstrbq_scatter_offset_s8(seen + i, place, vldrbq_z_s8(x[i] + c, here));
        correlate_wide(seen, wide, error, outputs, acc + c * DFE_OUTPUTS);
    }
}

typedef char a_tile_holds_all_positions[DFE_POSITIONS == 16 ? 1 : -1];

/* As `dfe_move_plain`. */
static void move(const int32_t *acc, int32_t n, int32_t shift, uint32_t place, uint32_t lattice,
                 int8_t *w) {
    int32_t last = shift < 16 ? shift : 16, right = dfe_clamp(shift - 16, 0, 31);
    uint32x4_t at = vaddq_n_u32(vmulq_n_u32(vidupq_n_u32(0, 1), lattice), place);
    for (int32_t i = 0; i < n; i += LANES, at = vaddq_n_u32(at, LANES * lattice)) {
        mve_pred16_t here = words(n - i);
        int32x4_t v = vldrwq_z_s32(acc + i, here);
        uint32x4_t size = vshlq_r_u32(vreinterpretq_u32_s32(vabsq_s32(v)), -right);
        uint32x4_t r = vshlq_r_u32(vmovlbq_u16(vreinterpretq_u16_u32(at)), last - 16);
        int32x4_t by = vreinterpretq_s32_u32(vshlq_r_u32(vaddq_u32(size, r), -last));
        by = vnegq_m_s32(by, by, vcmpltq_n_s32(v, 0));
        int32x4_t moved = vsubq_s32(vldrbq_z_s32(w + i, here), by);
        moved = vmaxq_s32(vminq_s32(moved, vdupq_n_s32(DFE_MAX)), vdupq_n_s32(-DFE_MAX));
        vstrbq_p_s32(w + i, moved, here);
    }
}

static void dots(const int8_t *e, int32_t n, const int8_t *w, ptrdiff_t step, int32_t channels,
                 int32_t *acc) {
    for (int32_t i = 0; i < n; i += WIDE) {
        mve_pred16_t here = bytes(n - i);
        int8x16_t error = vldrbq_z_s8(e + i, here);
        const int8_t *row = w + i;
        for (int32_t c = 0; c < channels; c++, row += step)
            acc[c] = vmladavaq_s8(acc[c], error, vldrbq_z_s8(row, here));
    }
}

const dfe_level dfe_mve = {"mve", &panel, multiply, depthwise, activate, scale, correlate,
                            dots, move, dfe_lookup_plain};

#endif
