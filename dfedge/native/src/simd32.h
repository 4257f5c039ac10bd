/* Pairs of int16 from bytes, for SMLAD and its kin. */
#ifndef DFE_SIMD32_H
#define DFE_SIMD32_H

#include "level.h"

#include <arm_acle.h>

#define INLINE static inline __attribute__((always_inline))

INLINE uint32_t four_bytes(const int8_t *at) {
    uint32_t word;
    __builtin_memcpy(&word, at, sizeof word);
    return word;
}

INLINE uint32_t two_bytes(const int8_t *at) {
    uint16_t word;
    __builtin_memcpy(&word, at, sizeof word);
    return word;
}

/* Bytes 0 and 2, and bytes 1 and 3, signed and not. */
INLINE int16x2_t even(uint32_t bytes) { return __sxtb16((int8x4_t)bytes); }
INLINE uint16x2_t even_positive(uint32_t bytes) { return __uxtb16((uint8x4_t)bytes); }

INLINE int16x2_t odd(uint32_t bytes) {
    int16x2_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(bytes));
    return pair;
}

INLINE uint16x2_t odd_positive(uint32_t bytes) {
    uint16x2_t pair;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(bytes));
    return pair;
}

/* The lower halves of both, and the upper ones. */
INLINE uint32_t lower(uint32_t a, uint32_t b) {
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
}

INLINE uint32_t upper(uint32_t a, uint32_t b) {
    uint32_t pair;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(b), "r"(a));
    return pair;
}

extern const dfe_panel_kernels dfe_cortex_m_panel;

#endif
