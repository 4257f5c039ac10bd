/* Vectors of NEON for vector_tile.h: one block, so that nothing is spread. */
#include <arm_neon.h>

#define INLINE TARGET static inline __attribute__((always_inline))
/* What an unrolled loop sums stays in registers. */
#define UNROLL _Pragma("GCC unroll 16")

typedef int8x16_t vec;
typedef int32x4_t shift_count;
enum { BLOCKS = 1 };

#define WORDS(v) vreinterpretq_s32_s8(v)
#define HALVES(v) vreinterpretq_s16_s8(v)
#define OF_WORDS(v) vreinterpretq_s8_s32(v)
#define OF_HALVES(v) vreinterpretq_s8_s16(v)

INLINE vec zero(void) { return vdupq_n_s8(0); }
INLINE vec load(const void *at) { return vld1q_s8(at); }
INLINE void store(void *at, vec v) { vst1q_s8(at, v); }
INLINE vec every32(int32_t n) { return OF_WORDS(vdupq_n_s32(n)); }
INLINE vec permute(vec v, vec order) {
    (void)order;
    return v;
}
INLINE vec unpack_low8(vec a, vec b) { return vzip1q_s8(a, b); }
INLINE vec unpack_high8(vec a, vec b) { return vzip2q_s8(a, b); }
INLINE vec unpack_low16(vec a, vec b) { return OF_HALVES(vzip1q_s16(HALVES(a), HALVES(b))); }
INLINE vec unpack_high16(vec a, vec b) { return OF_HALVES(vzip2q_s16(HALVES(a), HALVES(b))); }
INLINE vec packed16(vec a, vec b) {
    return OF_HALVES(vcombine_s16(vqmovn_s32(WORDS(a)), vqmovn_s32(WORDS(b))));
}
INLINE vec packed8(vec a, vec b) { return vcombine_s8(vqmovn_s16(HALVES(a)), vqmovn_s16(HALVES(b))); }
INLINE vec add32(vec a, vec b) { return OF_WORDS(vaddq_s32(WORDS(a), WORDS(b))); }
INLINE vec multiply32(vec a, vec b) { return OF_WORDS(vmulq_s32(WORDS(a), WORDS(b))); }
INLINE vec larger32(vec a, vec b) { return OF_WORDS(vmaxq_s32(WORDS(a), WORDS(b))); }
INLINE vec smaller32(vec a, vec b) { return OF_WORDS(vminq_s32(WORDS(a), WORDS(b))); }
INLINE shift_count to_the_right(int32_t by) { return vdupq_n_s32(-by); }
INLINE vec shifted32(vec v, shift_count by) { return OF_WORDS(vshlq_s32(WORDS(v), by)); }

INLINE vec load_bytes(const int8_t *at, int32_t outputs, const int registers) {
    if (outputs == 16) return load(at);
    if (outputs == 8 && registers == 2) return vcombine_s8(vld1_s8(at), vdup_n_s8(0));
    int8_t whole[16] = {0};
    __builtin_memcpy(whole, at, (size_t)outputs);
    return load(whole);
}

INLINE void store_bytes(int8_t *to, vec v, int32_t outputs, const int registers) {
    if (outputs == 16) {
        store(to, v);
    } else if (outputs == 8 && registers == 2) {
        vst1_s8(to, vget_low_s8(v));
    } else {
        int8_t whole[16];
        store(whole, v);
        __builtin_memcpy(to, whole, (size_t)outputs);
    }
}

/* Those there are; the rest is zero. */
INLINE vec load_numbers(const int32_t *at, int32_t n) {
    int32_t whole[4] = {0};
    for (int32_t i = 0; i < 4 && i < n; i++) whole[i] = at[i];
    return load(whole);
}

INLINE vec blocks(const int32_t *at, ptrdiff_t apart) {
    (void)apart;
    return load(at);
}

#define EVERY(OF) TWELVE(OF, 1) EIGHT(OF, 2) OF(9, 2) OF(10, 2) SIX(OF, 3) FOUR(OF, 4) OF(5, 4)
#define MOST_POSITIONS {0, 12, 10, 6, 5}
