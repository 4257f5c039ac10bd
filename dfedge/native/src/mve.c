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

static void multiply(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                     int32_t outputs, int32_t *acc) {
    for (int32_t p = 0; p < pixels; p++, acc += DFE_OUTPUTS)
        if (outputs == WIDE) multiply_wide(x[p], taps, acc);
        else
            for (int32_t o = 0; o < outputs; o += LANES) multiply_some(x[p], taps, o, outputs, acc);
}

static void depthwise(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                      int32_t outputs, int32_t *acc) {
    ptrdiff_t stride = taps->stride;
    for (int32_t p = 0; p < pixels; p++, acc += DFE_OUTPUTS)
        for (int32_t o = 0; o < outputs; o += LANES) {
            mve_pred16_t here = words(outputs - o);
            int32x4_t sum = vldrwq_z_s32(acc + o, here);
            for (int32_t r = 0; r < taps->rows; r++) {
                const int8_t *seen = x[p] + r * taps->input_step + o;
                const int8_t *w = taps->weight + r * taps->row_step + o;
                for (int32_t k = taps->run; k > 0; k--, seen += stride, w += stride)
                    sum = vaddq_s32(sum,
                                    vmulq_s32(vldrbq_z_s32(seen, here), vldrbq_z_s32(w, here)));
            }
            vstrwq_p_s32(acc + o, sum, here);
        }
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

/* Sixteen words of four outputs each, `stride` bytes apart, become four outputs of sixteen. */
static void pack_words(const int8_t *w, ptrdiff_t stride, int32_t n, int8_t *packed) {
    uint32x4_t place = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)stride);
    for (int32_t i = 0; i < OUT; i++, w += OUT * stride, n -= OUT) {
        int32x4_t four = vldrwq_gather_offset_z_s32((const int32_t *)(const void *)w, place,
                                                    words(n < 0 ? 0 : n));
        vst1q_s32((int32_t *)(void *)packed + i * LANES, four);
    }
    int8x16x4_t apart = vld4q_s8(packed);
    for (int o = 0; o < OUT; o++) vst1q_s8(packed + o * GROUP, apart.val[o]);
}

static void pack(const int8_t *w, ptrdiff_t stride, int32_t n, int32_t outputs, int8_t *packed) {
    int whole = outputs == OUT && ((uintptr_t)w | (uintptr_t)stride) % sizeof(int32_t) == 0;
    for (; n > 0; n -= GROUP, w += GROUP * stride, packed += OUT * GROUP) {
        if (whole) {
            pack_words(w, stride, n, packed);
            continue;
        }
        for (int32_t o = 0; o < OUT; o++)
            for (int32_t i = 0; i < GROUP; i++)
                packed[o * GROUP + i] = o < outputs && i < n ? w[i * stride + o] : 0;
    }
}

static void sums(const int8_t *x, ptrdiff_t step, int32_t count, const dfe_packed_rows *rows,
                 const int32_t *start, int32_t *acc) {
    for (; count > 0; count--, x += step, acc += OUT) {
        const int32_t *from = start ? start : acc;
        int32_t a = from[0], b = from[1], c = from[2], d = from[3];
        const int8_t *seen = x, *packed = rows->packed;
        for (int32_t r = rows->rows; r > 0;
             r--, seen += rows->input_step, packed += rows->packed_step) {
            const int8_t *s = seen, *w = packed, *end = seen + (rows->run & -GROUP);
            for (; s < end; s += GROUP, w += OUT * GROUP) {
                int8x16_t v = vld1q_s8(s);
                a = vmladavaq_s8(a, v, vld1q_s8(w));
                b = vmladavaq_s8(b, v, vld1q_s8(w + GROUP));
                c = vmladavaq_s8(c, v, vld1q_s8(w + 2 * GROUP));
                d = vmladavaq_s8(d, v, vld1q_s8(w + 3 * GROUP));
            }
            int32_t rest = rows->run % GROUP;
            if (rest == 0) continue;
            int8x16_t v = vldrbq_z_s8(s, bytes(rest));
            a = vmladavaq_s8(a, v, vld1q_s8(w));
            b = vmladavaq_s8(b, v, vld1q_s8(w + GROUP));
            c = vmladavaq_s8(c, v, vld1q_s8(w + 2 * GROUP));
            d = vmladavaq_s8(d, v, vld1q_s8(w + 3 * GROUP));
        }
        acc[0] = a;
        acc[1] = b;
        acc[2] = c;
        acc[3] = d;
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

static void put(const int8_t *row, int32_t n, int32_t i, int8_t *to) {
    uint8x16_t place = vmulq_n_u8(vidupq_n_u8(0, 1), WIDE);
    mve_pred16_t here = bytes(n);
    vstrbq_scatter_offset_p_s8(to + i, place, vldrbq_z_s8(row, here), here);
}

static void correlate_wide(const int8_t *x, int32_t channels, const int8_t *e, int32_t outputs,
                           int32_t *acc) {
    for (; channels > 0; channels--, x += WIDE, acc += DFE_OUTPUTS) {
        int8x16_t seen = vld1q_s8(x);
        for (int32_t o = 0; o < outputs; o += LANES) {
            const int8_t *error = e + o * WIDE;
            acc[o] = vmladavaq_s8(acc[o], seen, vld1q_s8(error));
            acc[o + 1] = vmladavaq_s8(acc[o + 1], seen, vld1q_s8(error + WIDE));
            acc[o + 2] = vmladavaq_s8(acc[o + 2], seen, vld1q_s8(error + 2 * WIDE));
            acc[o + 3] = vmladavaq_s8(acc[o + 3], seen, vld1q_s8(error + 3 * WIDE));
        }
    }
}

static void correlate(const int8_t *const *x, int32_t channels, const int8_t *e, int32_t n,
                      int32_t outputs, int32_t *acc) {
    tile seen, error;
    for (int32_t first = 0; first < n; first += WIDE, x += WIDE, e += WIDE * DFE_OUTPUTS) {
        int32_t count = n - first < WIDE ? n - first : WIDE;
        if (count < WIDE)
            for (int32_t i = 0; i < WIDE; i++) vst1q_s8(error + i * WIDE, vdupq_n_s8(0));
        for (int32_t i = 0; i < count; i++) put(e + i * DFE_OUTPUTS, outputs, i, error);
        for (int32_t c = 0; c < channels; c += WIDE) {
            int32_t wide = channels - c < WIDE ? channels - c : WIDE;
            for (int32_t i = 0; i < count; i++) put(x[i] + c, wide, i, seen);
            correlate_wide(seen, wide, error, outputs, acc + c * DFE_OUTPUTS);
        }
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
                            dots, dfe_lookup_plain};

#endif
