/* Reset to main, for a Cortex-M without an operating system. */
#include "board.h"

extern uint32_t stack_limit[], stack_top[], data_load[], data_begin[], data_end[], bss_begin[],
    bss_end[];
int main(void);

#define STACK_PAINT 0xA5A5A5A5u
#define CPACR (*(volatile uint32_t *)0xE000ED88)
#define SYSTICK ((volatile uint32_t *)0xE000E010) /* control, reload, current */

enum { WRITE0 = 0x04, EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026, TICKS = 0xFFFFFF };

static void semihost(uint32_t number, const void *argument) {
    register uint32_t r0 __asm__("r0") = number;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

void board_write(const char *text) { semihost(WRITE0, text); }

void board_exit(int code) {
    uint32_t why[2] = {APPLICATION_EXIT, (uint32_t)code};
    semihost(EXIT_EXTENDED, why);
    for (;;) {
    }
}

uint32_t board_ticks(void) { return TICKS - SYSTICK[2]; }

uint32_t board_stack_used(void) {
    const uint32_t *word = stack_limit;
    while (word < stack_top && *word == STACK_PAINT) word++;
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)word);
}

void reset(void) {
    CPACR |= 0xFu << 20; /* vectors and floats: a Cortex-M55's compiler may use them anywhere */
    __asm__ volatile("dsb\n isb");
    const uint32_t *from = data_load;
    for (uint32_t *word = data_begin; word < data_end; word++) *word = *from++;
    for (uint32_t *word = bss_begin; word < bss_end; word++) *word = 0;
    uintptr_t here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    for (uint32_t *word = stack_limit; (uintptr_t)word < here; word++) *word = STACK_PAINT;
    SYSTICK[1] = TICKS;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5; /* on, the processor's clock, no interrupt */
    board_exit(main());
}

static void fault(void) {
    board_write("fault\n");
    board_exit(70);
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))stack_top, reset, fault, fault, fault, fault, fault,
};
