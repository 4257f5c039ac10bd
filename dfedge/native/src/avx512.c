/* The hot loops over VNNI's products of four bytes: u8 x s8, summed in int32, never saturating.
 *
 * Weights and errors are read where they lie, row by row; four rows are interleaved in registers, so
 * no packed copy of any weight exists.
 */
#include "level.h"
#include "tile.h"

#ifdef DFE_X86

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define INLINE TARGET static inline __attribute__((always_inline))
/* What an unrolled loop sums stays in registers. */
#define UNROLL _Pragma("GCC unroll 8")

INLINE __mmask64 first_bytes(int32_t n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }

/* Four rows of up to 64 bytes -> four vectors of 16 quads (row 0..3 of one column); lane L of vector
 * j holds columns 16 L + 4 j .. + 4. */
INLINE void quads(__m512i r0, __m512i r1, __m512i r2, __m512i r3, __m512i q[4]) {
    __m512i low01 = _mm512_unpacklo_epi8(r0, r1), high01 = _mm512_unpackhi_epi8(r0, r1);
    __m512i low23 = _mm512_unpacklo_epi8(r2, r3), high23 = _mm512_unpackhi_epi8(r2, r3);
    q[0] = _mm512_unpacklo_epi16(low01, low23);
    q[1] = _mm512_unpackhi_epi16(low01, low23);
    q[2] = _mm512_unpacklo_epi16(high01, high23);
    q[3] = _mm512_unpackhi_epi16(high01, high23);
}

INLINE __m512i some(const int8_t *at, __mmask64 mask, int wanted) {
    return wanted ? _mm512_maskz_loadu_epi8(mask, at) : _mm512_setzero_si512();
}

INLINE __m512i four_bytes(const int8_t *at, int32_t n) {
    int32_t word = 0;
    __builtin_memcpy(&word, at, (size_t)n);
    return _mm512_set1_epi32(word);
}

/* Put the columns of `quads` in order and add them to acc. */
INLINE void add_in_order(const __m512i a[4], int32_t *acc) {
    __m512i t0 = _mm512_shuffle_i32x4(a[0], a[1], 0x44), t1 = _mm512_shuffle_i32x4(a[0], a[1], 0xEE);
    __m512i t2 = _mm512_shuffle_i32x4(a[2], a[3], 0x44), t3 = _mm512_shuffle_i32x4(a[2], a[3], 0xEE);
    __m512i sum[4] = {_mm512_shuffle_i32x4(t0, t2, 0x88), _mm512_shuffle_i32x4(t0, t2, 0xDD),
                      _mm512_shuffle_i32x4(t1, t3, 0x88), _mm512_shuffle_i32x4(t1, t3, 0xDD)};
    UNROLL
    for (int j = 0; j < 4; j++) {
        int32_t *at = acc + 16 * j;
        _mm512_storeu_si512(at, _mm512_add_epi32(_mm512_loadu_si512(at), sum[j]));
    }
}

INLINE void multiply_some(const int8_t *const *x, const int pixels, const dfe_taps_run *taps,
                          int32_t outputs, int32_t *acc) {
    __mmask64 mask = first_bytes(outputs);
    __m512i sum[DFE_PIXELS][4], q[4];
    ptrdiff_t o = taps->stride;
    UNROLL
    for (int p = 0; p < pixels; p++)
        UNROLL
        for (int j = 0; j < 4; j++) sum[p][j] = _mm512_setzero_si512();
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *w = taps->weight + r * taps->row_step;
        ptrdiff_t at = r * taps->input_step;
        int32_t k = 0;
        for (; k + 4 <= taps->run; k += 4, w += 4 * o) {
            quads(some(w, mask, 1), some(w + o, mask, 1), some(w + 2 * o, mask, 1),
                  some(w + 3 * o, mask, 1), q);
            UNROLL
            for (int p = 0; p < pixels; p++) {
                __m512i seen = four_bytes(x[p] + at + k, 4);
                UNROLL
                for (int j = 0; j < 4; j++)
                    sum[p][j] = _mm512_dpbusd_epi32(sum[p][j], seen, q[j]);
            }
        }
        int32_t rest = taps->run - k;
        if (rest == 0) continue;
        quads(some(w, mask, 1), some(w + o, mask, rest > 1), some(w + 2 * o, mask, rest > 2),
              _mm512_setzero_si512(), q);
        UNROLL
        for (int p = 0; p < pixels; p++) {
            __m512i seen = four_bytes(x[p] + at + k, rest);
            UNROLL
            for (int j = 0; j < 4; j++) sum[p][j] = _mm512_dpbusd_epi32(sum[p][j], seen, q[j]);
        }
    }
    UNROLL
    for (int p = 0; p < pixels; p++) add_in_order(sum[p], acc + p * DFE_OUTPUTS);
}

TARGET static void multiply(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                            int32_t outputs, int32_t *acc) {
    switch (pixels) { /* a constant keeps every sum in a register */
        case 6: multiply_some(x, 6, taps, outputs, acc); break;
        case 5: multiply_some(x, 5, taps, outputs, acc); break;
        case 4: multiply_some(x, 4, taps, outputs, acc); break;
        case 3: multiply_some(x, 3, taps, outputs, acc); break;
        case 2: multiply_some(x, 2, taps, outputs, acc); break;
        default: multiply_some(x, 1, taps, outputs, acc); break;
    }
}

/* Four rows of as many channels, `o` apart; those beyond `rest` zero. */
INLINE void taps_of(const int8_t *at, ptrdiff_t o, int32_t rest, __mmask64 mask, __m512i q[4]) {
    quads(some(at, mask, 1), some(at + o, mask, rest > 1), some(at + 2 * o, mask, rest > 2),
          some(at + 3 * o, mask, rest > 3), q);
}

enum { DEEP = 4 }; /* pixels of a depthwise convolution */

INLINE void depthwise_some(const int8_t *const *x, const int pixels, const dfe_taps_run *taps,
                           int32_t outputs, int32_t *acc) {
    __mmask64 mask = first_bytes(outputs);
    __m512i sum[DEEP][4], w[4], seen[4];
    ptrdiff_t o = taps->stride;
    UNROLL
    for (int p = 0; p < pixels; p++)
        UNROLL
        for (int j = 0; j < 4; j++) sum[p][j] = _mm512_setzero_si512();
    for (int32_t r = 0; r < taps->rows; r++)
        for (int32_t k = 0; k < taps->run; k += 4) {
            taps_of(taps->weight + r * taps->row_step + k * o, o, taps->run - k, mask, w);
            UNROLL
            for (int p = 0; p < pixels; p++) {
                taps_of(x[p] + r * taps->input_step + k * o, o, taps->run - k, mask, seen);
                UNROLL
                for (int j = 0; j < 4; j++)
                    sum[p][j] = _mm512_dpbusd_epi32(sum[p][j], seen[j], w[j]);
            }
        }
    UNROLL
    for (int p = 0; p < pixels; p++) add_in_order(sum[p], acc + p * DFE_OUTPUTS);
}

TARGET static void depthwise(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                             int32_t outputs, int32_t *acc) {
    for (; pixels >= DEEP; pixels -= DEEP, x += DEEP, acc += DEEP * DFE_OUTPUTS)
        depthwise_some(x, DEEP, taps, outputs, acc);
    switch (pixels) {
        case 3: depthwise_some(x, 3, taps, outputs, acc); break;
        case 2: depthwise_some(x, 2, taps, outputs, acc); break;
        case 1: depthwise_some(x, 1, taps, outputs, acc); break;
    }
}

TARGET static void activate(const int32_t *acc, int32_t outputs, int32_t shift, int8_t *out) {
    __m512i half = _mm512_set1_epi32(shift ? 1 << (shift - 1) : 0), top = _mm512_set1_epi32(127);
    __m128i count = _mm_cvtsi32_si128(shift);
    for (int32_t o = 0; o < outputs; o += 16) {
        __mmask16 mask = (__mmask16)first_bytes(outputs - o);
        __m512i v = _mm512_maskz_loadu_epi32(mask, acc + o);
        v = _mm512_max_epi32(v, _mm512_setzero_si512());
        v = _mm512_min_epi32(_mm512_srl_epi32(_mm512_add_epi32(v, half), count), top);
        _mm512_mask_cvtepi32_storeu_epi8(out + o, mask, v);
    }
}

TARGET static void scale(const int32_t *acc, int32_t outputs, const int32_t *lift,
                         const int32_t *limit, int32_t shift, int8_t *out) {
    __m512i half = _mm512_set1_epi32(shift ? 1 << (shift - 1) : 0), top = _mm512_set1_epi32(127);
    __m128i count = _mm_cvtsi32_si128(shift);
    for (int32_t o = 0; o < outputs; o += 16) {
        __mmask16 mask = (__mmask16)first_bytes(outputs - o);
        __m512i v = _mm512_max_epi32(_mm512_maskz_loadu_epi32(mask, acc + o),
                                     _mm512_setzero_si512());
        v = _mm512_min_epi32(v, _mm512_maskz_loadu_epi32(mask, limit + o));
        v = _mm512_mullo_epi32(v, _mm512_maskz_loadu_epi32(mask, lift + o));
        v = _mm512_min_epi32(_mm512_srl_epi32(_mm512_add_epi32(v, half), count), top);
        _mm512_mask_cvtepi32_storeu_epi8(out + o, mask, v);
    }
}

/* As `quads`, but column 16 j + 4 L + i is in vector j, lane L: in order. */
INLINE void pack(const int8_t *const row[4], __mmask64 mask, int8_t *to) {
    const __m512i transposed = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i r[4], q[4];
    for (int i = 0; i < 4; i++)
        r[i] = _mm512_permutexvar_epi32(transposed, _mm512_maskz_loadu_epi8(mask, row[i]));
    quads(r[0], r[1], r[2], r[3], q);
    UNROLL
    for (int j = 0; j < 4; j++) _mm512_storeu_si512(to + 64 * j, q[j]);
}

enum { QUADS = DFE_POSITIONS / 4, QUAD_BYTES = 4 * DFE_OUTPUTS };

INLINE void correlate_some(const int8_t *x, const int channels, const int8_t *e, int32_t count,
                           int32_t *acc) {
    __m512i sum[6][4], q[4];
    UNROLL
    for (int c = 0; c < channels; c++)
        UNROLL
        for (int j = 0; j < 4; j++) sum[c][j] = _mm512_loadu_si512(acc + c * DFE_OUTPUTS + 16 * j);
    for (int32_t i = 0; i < count; i++, x += QUAD_BYTES, e += QUAD_BYTES) {
        UNROLL
        for (int j = 0; j < 4; j++) q[j] = _mm512_loadu_si512(e + 64 * j);
        UNROLL
        for (int c = 0; c < channels; c++) {
            __m512i seen = four_bytes(x + 4 * c, 4);
            UNROLL
            for (int j = 0; j < 4; j++) sum[c][j] = _mm512_dpbusd_epi32(sum[c][j], seen, q[j]);
        }
    }
    UNROLL
    for (int c = 0; c < channels; c++)
        UNROLL
        for (int j = 0; j < 4; j++) _mm512_storeu_si512(acc + c * DFE_OUTPUTS + 16 * j, sum[c][j]);
}

TARGET static void correlate(const int8_t *const *x, int32_t channels, const int8_t *e, int32_t n,
                             int32_t outputs, int32_t *acc) {
    int8_t seen[QUADS * QUAD_BYTES], error[QUADS * QUAD_BYTES];
    int32_t count = (n + 3) / 4, c = 0;
    for (int32_t i = 0; i < count; i++) {
        const int8_t *rows[4], *errors[4];
        UNROLL
        for (int j = 0; j < 4; j++) {
            int32_t place = 4 * i + j;
            rows[j] = x[place < n ? place : n - 1]; /* beyond n the error is zero */
            errors[j] = e + place * DFE_OUTPUTS;
        }
        pack(rows, first_bytes(channels), seen + i * QUAD_BYTES);
        pack(errors, first_bytes(outputs), error + i * QUAD_BYTES);
    }
    for (; c + 6 <= channels; c += 6)
        correlate_some(seen + 4 * c, 6, error, count, acc + c * DFE_OUTPUTS);
    switch (channels - c) {
        case 5: correlate_some(seen + 4 * c, 5, error, count, acc + c * DFE_OUTPUTS); break;
        case 4: correlate_some(seen + 4 * c, 4, error, count, acc + c * DFE_OUTPUTS); break;
        case 3: correlate_some(seen + 4 * c, 3, error, count, acc + c * DFE_OUTPUTS); break;
        case 2: correlate_some(seen + 4 * c, 2, error, count, acc + c * DFE_OUTPUTS); break;
        case 1: correlate_some(seen + 4 * c, 1, error, count, acc + c * DFE_OUTPUTS); break;
    }
}

/* Both operands are signed here: e + 127 is not, and 127 sum(w) is taken off again. */
TARGET static void dots(const int8_t *e, int32_t n, const int8_t *w, ptrdiff_t step,
                        int32_t channels, int32_t *acc) {
    const __m512i offset = _mm512_set1_epi8(127);
    for (int32_t i = 0; i < n; i += 64) {
        __mmask64 mask = first_bytes(n - i);
        __m512i raised = _mm512_add_epi8(_mm512_maskz_loadu_epi8(mask, e + i), offset);
        for (int32_t c = 0; c < channels; c++) {
            __m512i row = _mm512_maskz_loadu_epi8(mask, w + c * step + i);
            __m512i both = _mm512_sub_epi32(
                _mm512_dpbusd_epi32(_mm512_setzero_si512(), raised, row),
                _mm512_dpbusd_epi32(_mm512_setzero_si512(), offset, row));
            acc[c] += _mm512_reduce_add_epi32(both);
        }
    }
}

const dfe_level dfe_avx512 = {"avx512-vnni", NULL, multiply, depthwise, activate, scale, correlate,
                               dots, dfe_move_plain, dfe_lookup_avx2, &dfe_avx512_tile};

#endif
