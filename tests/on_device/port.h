/* What a test's program prints and measures with: a board's own, elsewhere the C library. */
#ifndef PORT_H
#define PORT_H

#ifdef BOARD
#include "board.h"
#else
#include <stdint.h>
#include <stdio.h>
static inline void board_write(const char *text) { fputs(text, stdout); }
static inline uint32_t board_ticks(void) { return 0; }
static inline uint32_t board_stack_used(void) { return 0; }
#endif

#include "print.h"

#endif
