/* Tiles over VNNI's products of four bytes: u8 x s8, summed in int32. */
#include "tile.h"

#ifdef DFE_X86

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define INLINE TARGET static inline __attribute__((always_inline))
/* What an unrolled loop sums stays in registers. */
#define UNROLL _Pragma("GCC unroll 16")

typedef __m512i vec;
typedef __m128i shift_count;
enum { BLOCKS = 4 };

INLINE __mmask64 first_bytes(int32_t n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }
INLINE vec zero(void) { return _mm512_setzero_si512(); }
INLINE vec load(const void *at) { return _mm512_loadu_si512(at); }
INLINE void store(void *at, vec v) { _mm512_storeu_si512(at, v); }
INLINE vec every32(int32_t n) { return _mm512_set1_epi32(n); }
INLINE vec permute(vec v, vec order) { return _mm512_permutexvar_epi32(order, v); }
INLINE vec unpack_low8(vec a, vec b) { return _mm512_unpacklo_epi8(a, b); }
INLINE vec unpack_high8(vec a, vec b) { return _mm512_unpackhi_epi8(a, b); }
INLINE vec unpack_low16(vec a, vec b) { return _mm512_unpacklo_epi16(a, b); }
INLINE vec unpack_high16(vec a, vec b) { return _mm512_unpackhi_epi16(a, b); }
INLINE vec packed16(vec a, vec b) { return _mm512_packs_epi32(a, b); }
INLINE vec packed8(vec a, vec b) { return _mm512_packs_epi16(a, b); }
INLINE vec add32(vec a, vec b) { return _mm512_add_epi32(a, b); }
INLINE vec multiply32(vec a, vec b) { return _mm512_mullo_epi32(a, b); }
INLINE vec larger32(vec a, vec b) { return _mm512_max_epi32(a, b); }
INLINE vec smaller32(vec a, vec b) { return _mm512_min_epi32(a, b); }
INLINE shift_count to_the_right(int32_t by) { return _mm_cvtsi32_si128(by); }
INLINE vec shifted32(vec v, shift_count by) { return _mm512_srl_epi32(v, by); }

INLINE vec load_bytes(const int8_t *at, int32_t outputs, const int registers) {
    (void)registers;
    return _mm512_maskz_loadu_epi8(first_bytes(outputs), at);
}

INLINE void store_bytes(int8_t *to, vec v, int32_t outputs, const int registers) {
    if (outputs < 16 * registers) {
        _mm512_mask_storeu_epi8(to, first_bytes(outputs), v);
    } else if (registers == 4) {
        store(to, v);
    } else {
        if (registers > 1) _mm256_storeu_si256((void *)to, _mm512_castsi512_si256(v));
        if (registers == 3) _mm_storeu_si128((void *)(to + 32), _mm512_extracti32x4_epi32(v, 2));
        if (registers == 1) _mm_storeu_si128((void *)to, _mm512_castsi512_si128(v));
    }
}

/* Those there are; the rest is zero. */
INLINE vec load_numbers(const int32_t *at, int32_t n) {
    return _mm512_maskz_loadu_epi32((__mmask16)first_bytes(n > 0 ? n : 0), at);
}

/* Blocks of four numbers, `apart` from one to the next. */
INLINE vec blocks(const int32_t *at, ptrdiff_t apart) {
    vec v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)at));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at + apart)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at + 2 * apart)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at + 3 * apart)), 3);
}

/* With the intrinsic GCC 12 keeps sums in memory. */
INLINE vec multiply_add(vec sum, vec seen, vec w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(seen), "v"(w));
    return sum;
}

#define EVERY(OF) FOURTEEN(OF, 1) TWELVE(OF, 2) EIGHT(OF, 3) SIX(OF, 4)
#include "vector_tile.h"

#include "vector_depthwise.h"

const dfe_tile_kernels dfe_avx512_tile = {LANES, {0, 14, 12, 8, 6}, pack, order, make, depthwise};

#endif
