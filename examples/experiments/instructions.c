/* Instructions of the kernels on an emulated microcontroller: prints "NAME instructions" a shape.
 *
 * See instructions.py.  A tick of the board's timer is many instructions, so each call runs several
 * times. */
#include "board.h"
#include "carry.h"
#include "convolve.h"
#include "print.h"
#include "update.h"

enum { TIMES = 4, VALUES = 1 << 16 };

static int8_t x[VALUES], w[VALUES], kept[VALUES], h[VALUES], map[VALUES], values[1024];
static int32_t bias[1024];
static uint32_t seed = 1;

static int32_t draw(int32_t low, int32_t high) {
    seed = seed * 1664525u + 1013904223u;
    return low + (int32_t)((seed >> 8) % (uint32_t)(high - low + 1));
}

/* Activations of which one in `zero` is zero; 0: none. */
static void fill(int8_t *to, int32_t n, int32_t zero) {
    for (int32_t i = 0; i < n; i++) to[i] = (int8_t)(zero && draw(1, zero) == 1 ? 0 : draw(1, 127));
}

static void number(const char *name, const char *what, uint32_t value) {
    board_write(name);
    board_write(" ");
    print_number(what, value);
}

typedef struct {
    const char *name;
    int32_t side, in, out, kernel, depthwise;
} shape;

static const shape SHAPES[] = {
#define SHAPE(name, side, in, out, kernel, depthwise) {#name, side, in, out, kernel, depthwise},
#include "shapes.h"
};

static uint32_t begun;
static void begin(void) { begun = board_ticks(); }
static uint32_t took(void) { return ((board_ticks() - begun) & 0xFFFFFF) / TIMES; }

static void measure(const shape *s) {
    int32_t pad = s->kernel / 2;
    dfe_conv c = {s->side, s->side, s->in, s->out, s->kernel, s->kernel, 1, 1,
                  pad, pad, pad, pad, s->depthwise, 9, 9, 0, 0, 0};
    dfe_error e = {DFE_CELLS, values, h, NULL, s->side, s->side, s->out, 4};
    dfe_back back = {&c, w, NULL, &e};
    int32_t positions = s->side * s->side;
    for (int32_t zero = 0; zero <= 2; zero += 2) {
        fill(x, positions * s->in, zero);
        begin();
        for (int i = 0; i < TIMES; i++) dfe_conv_relu(&c, 1, x, w, bias, h);
        number(s->name, zero ? "forward_half" : "forward", took());
    }
    for (int32_t shift = 12; shift <= 40; shift += 28) {
        fill(h, positions * s->out, 2);
        for (int32_t i = 0; i < VALUES; i++) w[i] = kept[i];
        begin();
        for (int i = 0; i < TIMES; i++) dfe_conv_update(&c, 1, x, &e, w, shift, (uint32_t)i * 7);
        number(s->name, shift < 20 ? "update" : "update_still", took());
    }
    for (int32_t i = 0; i < VALUES; i++) w[i] = kept[i];
    begin();
    for (int i = 0; i < TIMES; i++) dfe_carry_inside(&back, 1, x, map);
    number(s->name, "carry", took());
}

int main(void) {
    for (int32_t i = 0; i < VALUES; i++) w[i] = kept[i] = (int8_t)draw(-127, 127);
    for (int32_t i = 0; i < 1024; i++) {
        bias[i] = draw(-1000, 1000);
        values[i] = (int8_t)draw(-40, 40);
    }
    for (uint32_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) measure(SHAPES + i);
    return 0;
}
