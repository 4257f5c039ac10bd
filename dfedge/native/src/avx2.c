/* The hot loops over AVX2's products of two bytes: u8 x s8 in pairs, which fit int16 because
 * 2 * 127 * 127 = 32,258. */
#include "arithmetic.h"
#include "level.h"
#include "tile.h"

#ifdef DFE_X86

#include <immintrin.h>

#define TARGET __attribute__((target("avx2")))
#define INLINE TARGET static inline __attribute__((always_inline))
/* What an unrolled loop sums stays in registers. */
#define UNROLL _Pragma("GCC unroll 8")

enum { HALF = 32, PAIR = 2 };

/* Up to 32 bytes, nothing beyond them read. */
INLINE __m256i some(const int8_t *at, int32_t n) {
    if (n >= HALF) return _mm256_loadu_si256((const void *)at);
    int8_t whole[HALF] = {0};
    if (n > 0) __builtin_memcpy(whole, at, (size_t)n);
    return _mm256_loadu_si256((const void *)whole);
}

INLINE __m256i four_bytes(const int8_t *at, int32_t n) {
    int32_t word = 0;
    __builtin_memcpy(&word, at, (size_t)n);
    return _mm256_set1_epi32(word);
}

/* Four rows of 32 bytes -> four vectors of 8 quads; lane L of vector j holds columns 16 L + 4 j on. */
INLINE void quads(__m256i r0, __m256i r1, __m256i r2, __m256i r3, __m256i q[4]) {
    __m256i low01 = _mm256_unpacklo_epi8(r0, r1), high01 = _mm256_unpackhi_epi8(r0, r1);
    __m256i low23 = _mm256_unpacklo_epi8(r2, r3), high23 = _mm256_unpackhi_epi8(r2, r3);
    q[0] = _mm256_unpacklo_epi16(low01, low23);
    q[1] = _mm256_unpackhi_epi16(low01, low23);
    q[2] = _mm256_unpacklo_epi16(high01, high23);
    q[3] = _mm256_unpackhi_epi16(high01, high23);
}

INLINE __m256i multiply_add(__m256i sum, __m256i seen, __m256i w) {
    __m256i pairs = _mm256_maddubs_epi16(seen, w);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* Put the columns of `quads` in order and add them to acc, 32 sums. */
INLINE void add_in_order(const __m256i a[4], int32_t *acc) {
    UNROLL
    for (int j = 0; j < 4; j++) {
        __m128i *low = (__m128i *)(void *)(acc + 4 * j), *high = (__m128i *)(void *)(acc + 16 + 4 * j);
        _mm_storeu_si128(low, _mm_add_epi32(_mm_loadu_si128(low), _mm256_castsi256_si128(a[j])));
        _mm_storeu_si128(high,
                         _mm_add_epi32(_mm_loadu_si128(high), _mm256_extracti128_si256(a[j], 1)));
    }
}

/* `rows` (1 to 4) weights of a run against as many values of every pixel. */
INLINE void multiply_rows(const int8_t *const *x, const int pixels, ptrdiff_t at, const int8_t *w,
                          ptrdiff_t o, const int rows, int32_t outputs, __m256i sum[PAIR][4]) {
    __m256i q[4];
    quads(some(w, outputs), some(w + o, rows > 1 ? outputs : 0),
          some(w + 2 * o, rows > 2 ? outputs : 0), some(w + 3 * o, rows > 3 ? outputs : 0), q);
    UNROLL
    for (int p = 0; p < pixels; p++) {
        __m256i seen = four_bytes(x[p] + at, rows);
        UNROLL
        for (int j = 0; j < 4; j++) sum[p][j] = multiply_add(sum[p][j], seen, q[j]);
    }
}

INLINE void multiply_some(const int8_t *const *x, const int pixels, const dfe_taps_run *taps,
                          const int8_t *weight, int32_t outputs, int32_t *acc) {
    __m256i sum[PAIR][4];
    ptrdiff_t o = taps->stride;
    UNROLL
    for (int p = 0; p < pixels; p++)
        UNROLL
        for (int j = 0; j < 4; j++) sum[p][j] = _mm256_setzero_si256();
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *w = weight + r * taps->row_step;
        ptrdiff_t at = r * taps->input_step, end = at + taps->run;
        for (; at + 4 <= end; at += 4, w += 4 * o)
            multiply_rows(x, pixels, at, w, o, 4, outputs, sum);
        switch (end - at) {
            case 3: multiply_rows(x, pixels, at, w, o, 3, outputs, sum); break;
            case 2: multiply_rows(x, pixels, at, w, o, 2, outputs, sum); break;
            case 1: multiply_rows(x, pixels, at, w, o, 1, outputs, sum); break;
        }
    }
    UNROLL
    for (int p = 0; p < pixels; p++) add_in_order(sum[p], acc + p * DFE_OUTPUTS);
}

/* Up to 32 outputs of all pixels. */
INLINE void multiply_half(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                          const int8_t *w, int32_t outputs, int32_t *acc) {
    int32_t p = 0;
    for (; p + PAIR <= pixels; p += PAIR)
        multiply_some(x + p, PAIR, taps, w, outputs, acc + p * DFE_OUTPUTS);
    if (p < pixels) multiply_some(x + p, 1, taps, w, outputs, acc + p * DFE_OUTPUTS);
}

TARGET static void multiply(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                            int32_t outputs, int32_t *acc) {
    int32_t o = 0;
    for (; o + HALF <= outputs; o += HALF) /* a constant: nothing is tested in the loop */
        multiply_half(x, pixels, taps, taps->weight + o, HALF, acc + o);
    if (o < outputs) multiply_half(x, pixels, taps, taps->weight + o, outputs - o, acc + o);
}

/* Four rows of up to 32 channels, `o` apart; those beyond `rest` zero. */
INLINE void taps_of(const int8_t *at, ptrdiff_t o, int32_t rest, int32_t outputs, __m256i q[4]) {
    quads(some(at, outputs), some(at + o, rest > 1 ? outputs : 0),
          some(at + 2 * o, rest > 2 ? outputs : 0), some(at + 3 * o, rest > 3 ? outputs : 0), q);
}

/* Up to 32 channels of one pixel. */
INLINE void depthwise_half(const int8_t *x, const dfe_taps_run *taps, const int8_t *weight,
                           int32_t outputs, int32_t *acc) {
    __m256i sum[4], w[4], seen[4];
    ptrdiff_t o = taps->stride;
    UNROLL
    for (int j = 0; j < 4; j++) sum[j] = _mm256_setzero_si256();
    for (int32_t r = 0; r < taps->rows; r++)
        for (int32_t k = 0; k < taps->run; k += 4) {
            taps_of(weight + r * taps->row_step + k * o, o, taps->run - k, outputs, w);
            taps_of(x + r * taps->input_step + k * o, o, taps->run - k, outputs, seen);
            UNROLL
            for (int j = 0; j < 4; j++) sum[j] = multiply_add(sum[j], seen[j], w[j]);
        }
    add_in_order(sum, acc);
}

TARGET static void depthwise(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                             int32_t outputs, int32_t *acc) {
    for (int32_t p = 0; p < pixels; p++, acc += DFE_OUTPUTS) {
        int32_t o = 0;
        for (; o + HALF <= outputs; o += HALF)
            depthwise_half(x[p] + o, taps, taps->weight + o, HALF, acc + o);
        if (o < outputs) depthwise_half(x[p] + o, taps, taps->weight + o, outputs - o, acc + o);
    }
}

TARGET static void activate(const int32_t *acc, int32_t outputs, int32_t shift, int8_t *out) {
    for (int32_t o = 0; o < outputs; o++) out[o] = dfe_activation(acc[o], shift);
}

TARGET static void scale(const int32_t *acc, int32_t outputs, const int32_t *lift,
                         const int32_t *limit, int32_t shift, int8_t *out) {
    __m256i half = _mm256_set1_epi32(dfe_half(shift));
    __m128i count = _mm_cvtsi32_si128(shift);
    int32_t o = 0;
    for (; o + 8 <= outputs; o += 8) {
        __m256i v = _mm256_max_epi32(_mm256_loadu_si256((const void *)(acc + o)),
                                     _mm256_setzero_si256());
        v = _mm256_min_epi32(v, _mm256_loadu_si256((const void *)(limit + o)));
        v = _mm256_mullo_epi32(v, _mm256_loadu_si256((const void *)(lift + o)));
        v = _mm256_srl_epi32(_mm256_add_epi32(v, half), count);
        v = _mm256_min_epi32(v, _mm256_set1_epi32(DFE_MAX));
        __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        _mm_storel_epi64((void *)(out + o), _mm_packs_epi16(words, words));
    }
    for (; o < outputs; o++) out[o] = dfe_scaled(acc[o], lift[o], limit[o], shift);
}

enum { QUADS = DFE_POSITIONS / 4, QUAD_BYTES = 4 * HALF };

/* Four rows' 32 columns, in order. */
INLINE void pack(__m256i r0, __m256i r1, __m256i r2, __m256i r3, int8_t *to) {
    __m256i q[4];
    quads(r0, r1, r2, r3, q);
    for (int j = 0; j < 2; j++) {
        _mm256_storeu_si256((void *)(to + HALF * j),
                            _mm256_permute2x128_si256(q[2 * j], q[2 * j + 1], 0x20));
        _mm256_storeu_si256((void *)(to + HALF * (j + 2)),
                            _mm256_permute2x128_si256(q[2 * j], q[2 * j + 1], 0x31));
    }
}

INLINE void correlate_some(const int8_t *x, const int channels, const int8_t *e, int32_t count,
                           int32_t *acc) {
    __m256i sum[PAIR][4], q[4];
    UNROLL
    for (int c = 0; c < channels; c++)
        UNROLL
        for (int j = 0; j < 4; j++)
            sum[c][j] = _mm256_loadu_si256((const void *)(acc + c * DFE_OUTPUTS + 8 * j));
    for (int32_t i = 0; i < count; i++, x += QUAD_BYTES, e += QUAD_BYTES) {
        UNROLL
        for (int j = 0; j < 4; j++) q[j] = _mm256_loadu_si256((const void *)(e + HALF * j));
        UNROLL
        for (int c = 0; c < channels; c++) {
            __m256i seen = four_bytes(x + 4 * c, 4);
            UNROLL
            for (int j = 0; j < 4; j++) sum[c][j] = multiply_add(sum[c][j], seen, q[j]);
        }
    }
    UNROLL
    for (int c = 0; c < channels; c++)
        UNROLL
        for (int j = 0; j < 4; j++)
            _mm256_storeu_si256((void *)(acc + c * DFE_OUTPUTS + 8 * j), sum[c][j]);
}

/* 32 channels by 32 outputs at a time. */
TARGET static void correlate(const int8_t *const *x, int32_t channels, const int8_t *e, int32_t n,
                             int32_t outputs, int32_t *acc) {
    int8_t seen[QUADS * QUAD_BYTES], error[QUADS * QUAD_BYTES];
    int32_t count = (n + 3) / 4;
    for (int32_t o = 0; o < outputs; o += HALF) {
        for (int32_t i = 0; i < count; i++) {
            const int8_t *at = e + 4 * i * DFE_OUTPUTS + o;
            int32_t wide = outputs - o;
            pack(some(at, wide), some(at + DFE_OUTPUTS, wide), some(at + 2 * DFE_OUTPUTS, wide),
                 some(at + 3 * DFE_OUTPUTS, wide), error + i * QUAD_BYTES);
        }
        for (int32_t c = 0; c < channels; c += HALF) {
            int32_t wide = channels - c > HALF ? HALF : channels - c, done = 0;
            for (int32_t i = 0; i < count; i++) {
                const int8_t *rows[4]; /* beyond n the error is zero */
                UNROLL
                for (int j = 0; j < 4; j++) rows[j] = x[4 * i + j < n ? 4 * i + j : n - 1] + c;
                pack(some(rows[0], wide), some(rows[1], wide), some(rows[2], wide),
                     some(rows[3], wide), seen + i * QUAD_BYTES);
            }
            int32_t *to = acc + c * DFE_OUTPUTS + o;
            for (; done + PAIR <= wide; done += PAIR)
                correlate_some(seen + 4 * done, PAIR, error, count, to + done * DFE_OUTPUTS);
            if (done < wide)
                correlate_some(seen + 4 * done, 1, error, count, to + done * DFE_OUTPUTS);
        }
    }
}

/* Both operands are signed here: as int16. */
TARGET static void dots(const int8_t *e, int32_t n, const int8_t *w, ptrdiff_t step,
                        int32_t channels, int32_t *acc) {
    for (int32_t c = 0; c < channels; c++, w += step) {
        __m256i sum = _mm256_setzero_si256();
        int32_t i = 0, total = 0;
        for (; i + 16 <= n; i += 16) {
            __m256i a = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(e + i)));
            __m256i b = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(w + i)));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
        }
        int32_t lanes[8];
        _mm256_storeu_si256((void *)lanes, sum);
        for (int j = 0; j < 8; j++) total += lanes[j];
        for (; i < n; i++) total += e[i] * w[i];
        acc[c] += total;
    }
}

/* A shuffle looks up 16 entries, and gives 0 where its index is above 127: x - 16 t, raised by 112
 * and held at 255, is that but for entries 16 t .. 16 t + 15. */
TARGET void dfe_lookup_avx2(const int8_t *x, ptrdiff_t n, const int8_t *table, int8_t *out) {
    const __m256i raise = _mm256_set1_epi8(112), next = _mm256_set1_epi8(16);
    for (ptrdiff_t i = 0; i < n; i += HALF) {
        int32_t count = n - i < HALF ? (int32_t)(n - i) : HALF;
        __m256i at = some(x + i, count), found = _mm256_setzero_si256();
        UNROLL
        for (int t = 0; t < DFE_LEVELS; t += 16) {
            __m256i part = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)(table + t)));
            found = _mm256_or_si256(found, _mm256_shuffle_epi8(part, _mm256_adds_epu8(at, raise)));
            at = _mm256_sub_epi8(at, next);
        }
        int8_t last[HALF];
        _mm256_storeu_si256((void *)(count < HALF ? last : out + i), found);
        if (count < HALF) __builtin_memcpy(out + i, last, (size_t)count);
    }
}

const dfe_level dfe_avx2 = {"avx2", NULL, multiply, depthwise, activate, scale, correlate, dots,
                             dfe_move_plain, dfe_lookup_avx2, &dfe_avx2_tile};

#endif
