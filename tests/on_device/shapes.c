/* Convolutions of random shapes, forward, their updates, and errors carried down: prints a checksum
 * of what each gives, "CASE KIND checksum", which must be the same on every processor. */
#include "carry.h"
#include "convolve.h"
#include "crc32.h"
#include "geometry.h"
#include "update.h"

#ifdef BOARD
#include "board.h"
#else
#include <stdio.h>
static void board_write(const char *text) { fputs(text, stdout); }
#endif

#include "print.h"

enum { CASES = 300, MAP = 1 << 15, WEIGHTS = 1 << 15, SIDE = 12, CHANNELS = 70 };

static int8_t x[MAP], w[WEIGHTS], other[WEIGHTS], out[MAP], values[MAP], signs[WEIGHTS];
static int32_t bias[CHANNELS], lift[CHANNELS], limit[CHANNELS];
static uint32_t seed = 7;

static int32_t draw(int32_t low, int32_t high) {
    seed = seed * 1664525u + 1013904223u;
    return low + (int32_t)((seed >> 8) % (uint32_t)(high - low + 1));
}

static int one_in(int32_t n) { return draw(1, n) == 1; }

static void fill(int8_t *to, int32_t n, int32_t low, int32_t zeros) {
    for (int32_t i = 0; i < n; i++) to[i] = (int8_t)(one_in(zeros) ? 0 : draw(low, 127));
}

static dfe_conv shape(void) {
    dfe_conv c = {0};
    int32_t width = one_in(4), deep = one_in(8);
    c.kernel_height = draw(1, 4);
    c.kernel_width = draw(1, 4);
    if (one_in(3)) c.kernel_height = c.kernel_width = draw(0, 1) ? 3 : 1;
    c.height = draw(c.kernel_height, SIDE);
    c.width = width ? c.kernel_width : draw(c.kernel_width, SIDE);
    if (one_in(8)) c.height = c.width = c.kernel_height = c.kernel_width = 1;
    c.in_channels = one_in(3) ? 4 * draw(1, 12) : draw(1, deep ? CHANNELS : 20);
    c.channels = one_in(3) ? 4 * draw(1, 12) : draw(1, 20);
    c.stride = c.across = draw(1, 2);
    c.top = draw(0, c.kernel_height - 1);
    c.bottom = draw(0, c.kernel_height - 1);
    c.left = draw(0, c.kernel_width - 1);
    c.right = draw(0, c.kernel_width - 1);
    c.shift = draw(0, 14);
    c.back = draw(0, 12);
    c.depthwise = one_in(5);
    if (c.depthwise) c.channels = c.in_channels;
    return c;
}

static int fits(const dfe_conv *c, int32_t batch) {
    return dfe_weights(c) <= WEIGHTS && c->height * c->width * c->in_channels * batch <= MAP &&
           dfe_out_height(c) * dfe_out_width(c) * c->channels * batch <= MAP;
}

static void print(const char *what, const void *from, int32_t n) {
    print_number(what, dfe_crc32(0, from, (size_t)n));
}

static void forward(const dfe_conv *c, int32_t batch) {
    int32_t made = batch * dfe_out_height(c) * dfe_out_width(c) * c->channels;
    dfe_conv one = {c->height, c->width, 12, c->channels, 1, 1, c->stride, c->stride, 0, 0, 0, 0,
                    0, 0, 0, 0, 0, 0};
    dfe_skip skip = {other, NULL, NULL, NULL, draw(0, 3), 0};
    skip.skip_lift = draw(0, 6);
    dfe_scaling scaling = {lift, limit};
    int32_t groups = c->depthwise ? c->channels : one_in(3) && c->in_channels % 2 == 0 &&
                     c->channels % 2 == 0 ? 2 : 1;
    dfe_conv_relu(c, batch, x, w, bias, out);
    print("relu", out, made);
    if (made <= WEIGHTS) {
        dfe_conv_join(c, batch, x, w, bias, &skip, out);
        print("join", out, made);
    }
    if (c->stride == 1 && batch * c->height * c->width * 12 <= MAP) {
        skip.conv = &one;
        skip.x = x;
        skip.w = other;
        skip.b = bias;
        if (dfe_out_height(c) <= c->height && dfe_out_width(c) <= c->width)
            dfe_conv_join(c, batch, x, w, bias, &skip, out);
        print("through", out, made);
    }
    for (int32_t i = 0; i < c->channels; i++) {
        int32_t own = draw(0, c->shift);
        lift[i] = 1 << (c->shift - own);
        limit[i] = 128 << own;
    }
    dfe_conv_scaled(c, groups, batch, x, w, bias, scaling, out);
    print("scaled", out, made);
}

static void backward(const dfe_conv *c, int32_t batch) {
    int8_t acts[2] = {1, (int8_t)draw(0, 1)}, sign[2] = {1, -1};
    int32_t height = dfe_out_height(c), width = dfe_out_width(c);
    int32_t made = batch * height * width * c->channels, kind = draw(0, 2), cells = draw(1, 4);
    dfe_error e = {(enum dfe_error_kind)kind, kind == DFE_SIGNED ? sign : values, out, acts,
                   height, width, c->channels, cells};
    dfe_back back = {c, w, one_in(3) ? signs : NULL, &e};
    fill(out, made, 0, 2);
    fill(values, made, -127, 5);
    dfe_carry_inside(&back, batch, x, other);
    print("carried", other, batch * c->height * c->width * c->in_channels);
    int32_t shift = draw(0, draw(0, 1) ? 24 : 48), phase = draw(0, 65535);
    dfe_conv_update(c, batch, x, &e, w, shift, (uint32_t)phase);
    print("moved", w, dfe_weights(c));
}

int main(void) {
#ifndef BOARD
    dfe_use_level(0);
#endif
    for (int32_t i = 0; i < CASES;) {
        dfe_conv c = shape();
        int32_t batch = draw(1, 2);
        if (!fits(&c, batch)) continue;
        fill(x, MAP, 0, draw(1, 9));
        fill(w, WEIGHTS, -127, 9);
        fill(other, WEIGHTS, 0, 3);
        fill(signs, WEIGHTS, -127, 3);
        for (int32_t o = 0; o < CHANNELS; o++) bias[o] = draw(-40000, 40000);
        print_number("case", (uint32_t)i++);
        forward(&c, batch);
        backward(&c, batch);
    }
    return 0;
}
