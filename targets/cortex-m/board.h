/* What a program needs of the board: text and exit by semihosting, time, and how deep the stack
 * went. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

void board_write(const char *text);
void board_exit(int code);

/* SysTick, counting up at the processor's clock, 24 bits.  Under `qemu -icount shift=0` an instruction takes
 * a nanosecond: 40 a tick on the Cortex-M4's board, at 25 MHz, and 31.25 on the Cortex-M55's, at 32 MHz. */
uint32_t board_ticks(void);

/* Bytes of stack that were ever used. */
uint32_t board_stack_used(void);

#endif
