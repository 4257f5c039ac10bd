/* Roundings, clamps and the dither: dfedge/int8/rounding.py and ops/update.py. */
#ifndef DFE_ARITHMETIC_H
#define DFE_ARITHMETIC_H

#include "layout.h"

#define DFE_MAX 127
#define DFE_BIAS_MAX (1 << 24)
#define DFE_DEAD (-(1 << 30))
#define DFE_GOLDEN 40503u
#define DFE_DITHER_MASK 0xFFFFu

/* Steps of the dither along a tensor's last three axes. */
enum { DFE_LATTICE_0 = 53685, DFE_LATTICE_1 = 43977, DFE_LATTICE_2 = 36025 };

static inline int32_t dfe_clamp(int32_t v, int32_t low, int32_t high) {
    return v < low ? low : v > high ? high : v;
}

static inline int32_t dfe_half(int32_t shift) { return shift ? 1 << (shift - 1) : 0; }

/* min(127, (max(0, v) + 2^(s-1)) >> s) */
static inline int8_t dfe_activation(int32_t v, int32_t shift) {
    int32_t h = ((v > 0 ? v : 0) + dfe_half(shift)) >> shift;
    return (int8_t)(h > DFE_MAX ? DFE_MAX : h);
}

/* clamp(v >> s, 0, 127); no negative number is shifted. */
static inline int8_t dfe_floored(int32_t v, int32_t shift) {
    int32_t q = (v > 0 ? v : 0) >> shift;
    return (int8_t)(q > DFE_MAX ? DFE_MAX : q);
}

/* min(127, (min(limit, max(0, v)) lift + 2^(s-1)) >> s) */
static inline int8_t dfe_scaled(int32_t v, int32_t lift, int32_t limit, int32_t shift) {
    return dfe_floored(dfe_clamp(v, 0, limit) * lift + dfe_half(shift), shift);
}

/* sign(v) min(127, (|v| + 2^(s-1)) >> s) */
static inline int8_t dfe_narrow(int32_t v, int32_t shift) {
    int32_t size = ((v < 0 ? -v : v) + dfe_half(shift)) >> shift;
    size = size > DFE_MAX ? DFE_MAX : size;
    return (int8_t)(v < 0 ? -size : size);
}

/* The dither's threshold scaled to [0, 2^shift); `place` is the lattice's sum. */
static inline int32_t dfe_threshold(uint32_t place, int32_t shift) {
    uint32_t r = place & DFE_DITHER_MASK;
    return (int32_t)(shift > 16 ? r << (shift - 16) : r >> (16 - shift));
}

/* R(v, s) = sign(v) ((|v| >> (s - s') + r) >> s'), s' = min(s, 24) */
static inline int32_t dfe_round(int32_t v, int32_t shift, uint32_t place) {
    int32_t dithered = shift > DFE_MAX_SHIFT ? DFE_MAX_SHIFT : shift;
    int32_t size = (v < 0 ? -v : v) >> (shift - dithered);
    size = (size + dfe_threshold(place, dithered)) >> dithered;
    return v < 0 ? -size : size;
}

#endif
