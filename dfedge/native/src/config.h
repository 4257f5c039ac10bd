/* How the kernels are compiled.  An export to a microcontroller sets it to 1 here, so that every way to
 * compile them gives the same code. */
#ifndef DFE_CONFIG_H
#define DFE_CONFIG_H

/* 1: tiles for a small stack, and one set of kernels: the best that the compiler's options allow. */
#ifndef DFE_SMALL
#define DFE_SMALL 0
#endif

/* Of a microcontroller: MVE (Helium), or the 32-bit SIMD instructions of a Cortex-M4, M7 or M33. */
#if DFE_SMALL && defined(__ARM_FEATURE_MVE)
#define DFE_MVE 1
#elif DFE_SMALL && defined(__ARM_FEATURE_SIMD32) && defined(__ARM_FEATURE_UNALIGNED) && \
    defined(__thumb2__) && !defined(__ARM_BIG_ENDIAN)
#define DFE_SIMD32 1
#elif DFE_SMALL
#define DFE_SCALAR 1 /* C, for any other */
#endif

#endif
