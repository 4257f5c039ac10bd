/* What a program needs of the board: text and exit by semihosting, time, and how deep the stack
 * went. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

void board_write(const char *text);
void board_exit(int code);

/* SysTick, counting up at 25 MHz, 24 bits. Under `qemu -icount shift=0` a tick is 40 instructions. */
uint32_t board_ticks(void);

/* Bytes of stack that were ever used. */
uint32_t board_stack_used(void);

#endif
