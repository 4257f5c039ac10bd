/* Tiles over AVX2's products of two bytes: u8 x s8 in pairs, which fit int16 because
 * 2 * 127 * 127 = 32,258. */
#include "tile.h"

#ifdef DFE_X86

#include <immintrin.h>

#define TARGET __attribute__((target("avx2")))
#define INLINE TARGET static inline __attribute__((always_inline))
/* What an unrolled loop sums stays in registers. */
#define UNROLL _Pragma("GCC unroll 16")

typedef __m256i vec;
typedef __m128i shift_count;
enum { BLOCKS = 2 };

INLINE vec zero(void) { return _mm256_setzero_si256(); }
INLINE vec load(const void *at) { return _mm256_loadu_si256(at); }
INLINE void store(void *at, vec v) { _mm256_storeu_si256(at, v); }
INLINE vec every32(int32_t n) { return _mm256_set1_epi32(n); }
INLINE vec permute(vec v, vec order) { return _mm256_permutevar8x32_epi32(v, order); }
INLINE vec unpack_low8(vec a, vec b) { return _mm256_unpacklo_epi8(a, b); }
INLINE vec unpack_high8(vec a, vec b) { return _mm256_unpackhi_epi8(a, b); }
INLINE vec unpack_low16(vec a, vec b) { return _mm256_unpacklo_epi16(a, b); }
INLINE vec unpack_high16(vec a, vec b) { return _mm256_unpackhi_epi16(a, b); }
INLINE vec packed16(vec a, vec b) { return _mm256_packs_epi32(a, b); }
INLINE vec packed8(vec a, vec b) { return _mm256_packs_epi16(a, b); }
INLINE vec add32(vec a, vec b) { return _mm256_add_epi32(a, b); }
INLINE vec multiply32(vec a, vec b) { return _mm256_mullo_epi32(a, b); }
INLINE vec larger32(vec a, vec b) { return _mm256_max_epi32(a, b); }
INLINE vec smaller32(vec a, vec b) { return _mm256_min_epi32(a, b); }
INLINE shift_count to_the_right(int32_t by) { return _mm_cvtsi32_si128(by); }
INLINE vec shifted32(vec v, shift_count by) { return _mm256_srl_epi32(v, by); }

INLINE vec load_bytes(const int8_t *at, int32_t outputs, const int registers) {
    if (outputs == 32) return load(at);
    if (outputs == 16 && registers == 2) return _mm256_castsi128_si256(_mm_loadu_si128((const void *)at));
    if (outputs == 8 && registers == 1) return _mm256_castsi128_si256(_mm_loadl_epi64((const void *)at));
    if (outputs == 24 && registers == 3)
        return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)at)),
                                       _mm_loadl_epi64((const void *)(at + 16)), 1);
    int8_t whole[32] = {0};
    __builtin_memcpy(whole, at, (size_t)outputs);
    return load(whole);
}

INLINE void store_bytes(int8_t *to, vec v, int32_t outputs, const int registers) {
    __m128i low = _mm256_castsi256_si128(v);
    if (outputs < 8 * registers) {
        int8_t whole[32];
        store(whole, v);
        __builtin_memcpy(to, whole, (size_t)outputs);
    } else if (registers == 4) {
        store(to, v);
    } else {
        if (registers == 1) _mm_storel_epi64((void *)to, low);
        else _mm_storeu_si128((void *)to, low);
        if (registers == 3) _mm_storel_epi64((void *)(to + 16), _mm256_extracti128_si256(v, 1));
    }
}

/* Those there are; the rest is zero. */
INLINE vec load_numbers(const int32_t *at, int32_t n) {
    __m256i number = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_epi32(at, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), number));
}

/* Blocks of four numbers, `apart` from one to the next. */
INLINE vec blocks(const int32_t *at, ptrdiff_t apart) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)at)),
                                   _mm_loadu_si128((const void *)(at + apart)), 1);
}

INLINE vec multiply_add(vec sum, vec seen, vec w) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(seen, w), _mm256_set1_epi16(1)));
}

#define EVERY(OF) EIGHT(OF, 1) FOUR(OF, 2) THREE(OF, 3) TWO(OF, 4)
#include "vector_tile.h"

#include "vector_depthwise.h"

const dfe_tile_kernels dfe_avx2_tile = {LANES, {0, 8, 4, 3, 2}, pack, order, make, depthwise};

#endif
