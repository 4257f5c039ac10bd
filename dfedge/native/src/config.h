/* How the kernels are compiled.  An export to a microcontroller sets it to 1 here, so that every way to
 * compile them gives the same code. */
#ifndef DFE_CONFIG_H
#define DFE_CONFIG_H

/* 1: tiles for a stack of 1 KB, and no instruction set beyond the compiler's own. */
#ifndef DFE_SMALL
#define DFE_SMALL 0
#endif

#endif
