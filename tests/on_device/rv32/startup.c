/* Reset to main on a 32-bit RISC-V without an operating system; see targets/cortex-m/board.h. */
#include "board.h"

extern uint32_t stack_limit[], stack_top[], bss_begin[], bss_end[];
int main(void);

#define STACK_PAINT 0xA5A5A5A5u

enum { WRITE0 = 0x04, EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026 };

static void semihost(uint32_t number, const void *argument) {
    register uint32_t a0 __asm__("a0") = number;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n.option norvc\n.balign 16\n"
                     "slli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\n.option pop"
                     : "+r"(a0) : "r"(a1) : "memory");
}

void board_write(const char *text) { semihost(WRITE0, text); }

void board_exit(int code) {
    uint32_t why[2] = {APPLICATION_EXIT, (uint32_t)code};
    semihost(EXIT_EXTENDED, why);
    for (;;) {
    }
}

#define CSR(name, to) \
    __asm__ volatile(".option push\n.option arch, +zicsr\ncsrr %0, " name "\n.option pop" : "=r"(to))

/* 32 instructions are a tick, under `qemu -icount shift=0`. */
uint32_t board_ticks(void) {
    uint32_t low, high;
    CSR("minstret", low);
    CSR("minstreth", high);
    return low >> 5 | high << 27;
}

uint32_t board_stack_used(void) {
    const uint32_t *word = stack_limit;
    while (word < stack_top && *word == STACK_PAINT) word++;
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)word);
}

__attribute__((used)) static void begin(void) {
    for (uint32_t *word = bss_begin; word < bss_end; word++) *word = 0;
    uintptr_t here;
    __asm__ volatile("mv %0, sp" : "=r"(here));
    for (uint32_t *word = stack_limit; (uintptr_t)word < here; word++) *word = STACK_PAINT;
    board_exit(main());
}

__attribute__((naked, section(".reset"), used)) void reset(void) {
    __asm__ volatile("la sp, stack_top\nj begin");
}
