/* Tiles over the products of four bytes that most ARM processors have since 2018. */
#include "tile.h"

#ifdef DFE_ARM64

#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#include "neon_vectors.h"

INLINE vec multiply_add(vec sum, vec seen, vec w) { return OF_WORDS(vdotq_s32(WORDS(sum), seen, w)); }

#include "vector_tile.h"

#include "vector_depthwise.h"

const dfe_tile_kernels dfe_dotprod_tile = {LANES, MOST_POSITIONS, pack, order, make, depthwise};

#endif
