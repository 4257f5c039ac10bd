/* The hot loops over NEON's widening products of bytes: two of them fit int16, because
 * 2 * 127 * 127 = 32,258. */
#include "arithmetic.h"
#include "level.h"
#include "tile.h"

#ifdef DFE_ARM64

#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))
/* What an unrolled loop sums stays in registers. */
#define UNROLL _Pragma("GCC unroll 4")

enum { WIDE = 16, AT_ONCE = 4 };

/* sum[0..15] += a * w + b * v, for 16 bytes of w and of v. */
INLINE void multiply_add(int32x4_t sum[4], int8_t a, int8x16_t w, int8_t b, int8x16_t v) {
    int8x16_t x = vdupq_n_s8(a), y = vdupq_n_s8(b);
    int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    low = vmlal_s8(low, vget_low_s8(v), vget_low_s8(y));
    high = vmlal_high_s8(high, v, y);
    sum[0] = vaddw_s16(sum[0], vget_low_s16(low));
    sum[1] = vaddw_high_s16(sum[1], low);
    sum[2] = vaddw_s16(sum[2], vget_low_s16(high));
    sum[3] = vaddw_high_s16(sum[3], high);
}

INLINE void load(int32x4_t sum[4], const int32_t *acc) {
    UNROLL
    for (int j = 0; j < 4; j++) sum[j] = vld1q_s32(acc + 4 * j);
}

INLINE void store(const int32x4_t sum[4], int32_t *acc) {
    UNROLL
    for (int j = 0; j < 4; j++) vst1q_s32(acc + 4 * j, sum[j]);
}

/* 16 outputs of `pixels` (1 to 4) pixels. */
INLINE void multiply_some(const int8_t *const *x, const int pixels, const dfe_taps_run *taps,
                          const int8_t *weight, int32_t *acc) {
    int32x4_t sum[AT_ONCE][4];
    ptrdiff_t o = taps->stride;
    UNROLL
    for (int p = 0; p < pixels; p++) load(sum[p], acc + p * DFE_OUTPUTS);
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *w = weight + r * taps->row_step;
        ptrdiff_t at = r * taps->input_step, end = at + taps->run;
        for (; at + 2 <= end; at += 2, w += 2 * o) {
            int8x16_t first = vld1q_s8(w), second = vld1q_s8(w + o);
            UNROLL
            for (int p = 0; p < pixels; p++)
                multiply_add(sum[p], x[p][at], first, x[p][at + 1], second);
        }
        if (at < end) {
            int8x16_t last = vld1q_s8(w);
            UNROLL
            for (int p = 0; p < pixels; p++) multiply_add(sum[p], x[p][at], last, 0, last);
        }
    }
    UNROLL
    for (int p = 0; p < pixels; p++) store(sum[p], acc + p * DFE_OUTPUTS);
}

static void multiply(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                     int32_t outputs, int32_t *acc) {
    int32_t o = 0;
    for (; o + WIDE <= outputs; o += WIDE) {
        int32_t p = 0;
        for (; p + AT_ONCE <= pixels; p += AT_ONCE)
            multiply_some(x + p, AT_ONCE, taps, taps->weight + o, acc + p * DFE_OUTPUTS + o);
        for (; p < pixels; p++)
            multiply_some(x + p, 1, taps, taps->weight + o, acc + p * DFE_OUTPUTS + o);
    }
    if (o < outputs) {
        dfe_taps_run rest = *taps;
        rest.weight += o;
        dfe_portable.multiply(x, pixels, &rest, outputs - o, acc + o);
    }
}

/* 16 channels of one pixel, each on its own. */
INLINE void depthwise_some(const int8_t *x, const dfe_taps_run *taps, const int8_t *weight,
                           int32_t *acc) {
    int32x4_t sum[4];
    ptrdiff_t o = taps->stride;
    load(sum, acc);
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *seen = x + r * taps->input_step, *w = weight + r * taps->row_step;
        for (int32_t k = 0; k < taps->run; k++, seen += o, w += o) {
            int8x16_t a = vld1q_s8(seen), b = vld1q_s8(w);
            int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
            sum[0] = vaddw_s16(sum[0], vget_low_s16(low));
            sum[1] = vaddw_high_s16(sum[1], low);
            sum[2] = vaddw_s16(sum[2], vget_low_s16(high));
            sum[3] = vaddw_high_s16(sum[3], high);
        }
    }
    store(sum, acc);
}

static void depthwise(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                      int32_t outputs, int32_t *acc) {
    int32_t whole = outputs / WIDE * WIDE;
    dfe_taps_run rest = *taps;
    rest.weight += whole;
    for (int32_t p = 0; p < pixels; p++, acc += DFE_OUTPUTS) {
        const int8_t *last = x[p] + whole;
        for (int32_t o = 0; o < whole; o += WIDE)
            depthwise_some(x[p] + o, taps, taps->weight + o, acc + o);
        if (whole < outputs) dfe_portable.depthwise(&last, 1, &rest, outputs - whole, acc + whole);
    }
}

/* 16 outputs of `channels` (1 to 4) channels from c on. */
INLINE void correlate_some(const int8_t *const *x, const int channels, int32_t c, const int8_t *e,
                           int32_t n, int32_t *acc) {
    int32x4_t sum[AT_ONCE][4];
    UNROLL
    for (int j = 0; j < channels; j++) load(sum[j], acc + j * DFE_OUTPUTS);
    for (int32_t i = 0; i < n; i += 2, e += 2 * DFE_OUTPUTS) { /* beyond n the error is zero */
        const int8_t *first = x[i] + c, *second = x[i + 1 < n ? i + 1 : i] + c;
        int8x16_t here = vld1q_s8(e), next = vld1q_s8(e + DFE_OUTPUTS);
        UNROLL
        for (int j = 0; j < channels; j++) multiply_add(sum[j], first[j], here, second[j], next);
    }
    UNROLL
    for (int j = 0; j < channels; j++) store(sum[j], acc + j * DFE_OUTPUTS);
}

static void correlate(const int8_t *const *x, int32_t channels, const int8_t *e, int32_t n,
                      int32_t outputs, int32_t *acc) {
    int32_t o = 0;
    for (; o + WIDE <= outputs; o += WIDE) {
        int32_t c = 0;
        for (; c + AT_ONCE <= channels; c += AT_ONCE)
            correlate_some(x, AT_ONCE, c, e + o, n, acc + c * DFE_OUTPUTS + o);
        for (; c < channels; c++) correlate_some(x, 1, c, e + o, n, acc + c * DFE_OUTPUTS + o);
    }
    if (o < outputs) dfe_portable.correlate(x, channels, e + o, n, outputs - o, acc + o);
}

static void activate(const int32_t *acc, int32_t outputs, int32_t shift, int8_t *out) {
    for (int32_t o = 0; o < outputs; o++) out[o] = dfe_activation(acc[o], shift);
}

static void scale(const int32_t *acc, int32_t outputs, const int32_t *lift, const int32_t *limit,
                  int32_t shift, int8_t *out) {
    for (int32_t o = 0; o < outputs; o++) out[o] = dfe_scaled(acc[o], lift[o], limit[o], shift);
}

static void dots(const int8_t *e, int32_t n, const int8_t *w, ptrdiff_t step, int32_t channels,
                 int32_t *acc) {
    for (int32_t c = 0; c < channels; c++, w += step) {
        int32x4_t sum = vdupq_n_s32(0);
        int32_t i = 0, total = 0;
        for (; i + WIDE <= n; i += WIDE) {
            int8x16_t a = vld1q_s8(e + i), b = vld1q_s8(w + i);
            int16x8_t pairs = vmull_s8(vget_low_s8(a), vget_low_s8(b));
            sum = vpadalq_s16(sum, vmlal_high_s8(pairs, a, b));
        }
        total = vaddvq_s32(sum);
        for (; i < n; i++) total += e[i] * w[i];
        acc[c] += total;
    }
}

/* A lookup of 64 entries, and one of the others that leaves alone what the first has found. */
static void lookup(const int8_t *x, ptrdiff_t n, const int8_t *table, int8_t *out) {
    int8x16x4_t low = vld1q_s8_x4(table), high = vld1q_s8_x4(table + 64);
    ptrdiff_t i = 0;
    for (; i + WIDE <= n; i += WIDE) {
        uint8x16_t at = vreinterpretq_u8_s8(vld1q_s8(x + i));
        int8x16_t found = vqtbl4q_s8(low, at);
        vst1q_s8(out + i, vqtbx4q_s8(found, high, vsubq_u8(at, vdupq_n_u8(64))));
    }
    dfe_lookup_plain(x + i, n - i, table, out + i);
}

const dfe_level dfe_neon = {"neon", NULL, multiply, depthwise, activate, scale, correlate,
                            dots, dfe_move_plain, lookup, &dfe_neon_tile};
const dfe_level dfe_dotprod = {"neon-dotprod", NULL, multiply, depthwise, activate, scale, correlate,
                               dots, dfe_move_plain, lookup, &dfe_dotprod_tile};

#endif
