/* Tiles over NEON's widening products of bytes: two of them fit int16, because 2 * 127 * 127 = 32,258. */
#include "tile.h"

#ifdef DFE_ARM64

#define TARGET
#include "neon_vectors.h"

INLINE vec multiply_add(vec sum, vec seen, vec w) {
    int16x8_t low = vmull_s8(vget_low_s8(seen), vget_low_s8(w)), high = vmull_high_s8(seen, w);
    /* Pairs of a sum's four products, then both pairs: as neighbours, in order. */
    return OF_WORDS(vpadalq_s16(WORDS(sum), vpaddq_s16(low, high)));
}

#include "vector_tile.h"

#include "vector_depthwise.h"

const dfe_tile_kernels dfe_neon_tile = {LANES, MOST_POSITIONS, pack, order, make, depthwise};

#endif
