/* Every instruction set of this processor against the portable loops, on random operands.
 *
 * Prints "NAME cases" for each, or stops at the first difference. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convolve.h"
#include "level.h"

enum { CASES = 400, SUMS = 64 * DFE_OUTPUTS };

static int draw(int low, int high) { return low + rand() % (high - low + 1); }

static int8_t *bytes(int n, int low, int high) { /* exactly as large as they are: for sanitizers */
    int8_t *made = malloc((size_t)n);
    for (int i = 0; i < n; i++) made[i] = (int8_t)draw(low, high);
    return made;
}

static int32_t before[SUMS], wanted[SUMS], found[SUMS];

static void check(const char *name, const char *loop) {
    if (!memcmp(wanted, found, sizeof found)) return;
    printf("%s differs in %s\n", name, loop);
    exit(1);
}

static void fresh(void) {
    memcpy(wanted, before, sizeof before);
    memcpy(found, before, sizeof before);
}

static void multiply(const dfe_level *level) {
    int rows = draw(1, 3), run = draw(1, 40), outputs = draw(1, DFE_OUTPUTS);
    int pixels = draw(1, DFE_PIXELS), stride = outputs + draw(0, 9), step = run + draw(0, 9);
    int8_t *w = bytes(rows * run * stride, -127, 127), *x[DFE_PIXELS];
    for (int p = 0; p < pixels; p++) x[p] = bytes(rows * step, draw(0, 126), 127);
    dfe_taps_run taps = {w, (ptrdiff_t)run * stride, step, rows, run, stride};
    fresh();
    dfe_portable.multiply((const int8_t *const *)x, pixels, &taps, outputs, wanted);
    level->multiply((const int8_t *const *)x, pixels, &taps, outputs, found);
    check(level->name, "multiply");
    for (int p = 0; p < pixels; p++) free(x[p]);
    free(w);
}

static void depthwise(const dfe_level *level) {
    int rows = draw(1, 3), run = draw(1, 7), outputs = draw(1, DFE_OUTPUTS);
    int pixels = draw(1, DFE_PIXELS), stride = outputs + draw(0, 9);
    int step = run * stride + draw(0, 9), size = (rows - 1) * step + (run - 1) * stride + outputs;
    int8_t *w = bytes(rows * run * stride, -127, 127), *x[DFE_PIXELS];
    for (int p = 0; p < pixels; p++) x[p] = bytes(size, draw(0, 126), 127);
    dfe_taps_run taps = {w, (ptrdiff_t)run * stride, step, rows, run, stride};
    fresh();
    dfe_portable.depthwise((const int8_t *const *)x, pixels, &taps, outputs, wanted);
    level->depthwise((const int8_t *const *)x, pixels, &taps, outputs, found);
    for (int p = 0; p < pixels; p++) /* beyond the outputs a level may write what it likes */
        memcpy(found + p * DFE_OUTPUTS + outputs, wanted + p * DFE_OUTPUTS + outputs,
               (size_t)(DFE_OUTPUTS - outputs) * sizeof *found);
    check(level->name, "depthwise");
    for (int p = 0; p < pixels; p++) free(x[p]);
    free(w);
}

static void scale(const dfe_level *level) {
    int outputs = draw(1, DFE_OUTPUTS), shift = draw(0, 22);
    int32_t lift[DFE_OUTPUTS], limit[DFE_OUTPUTS];
    for (int i = 0; i < outputs; i++) {
        int own = draw(0, shift);
        lift[i] = 1 << (shift - own);
        limit[i] = 128 << own;
        before[i] = draw(-(1 << 20), (1 << draw(8, 30)) - 1);
    }
    fresh();
    dfe_portable.scale(before, outputs, lift, limit, shift, (int8_t *)wanted);
    level->scale(before, outputs, lift, limit, shift, (int8_t *)found);
    check(level->name, "scale");
}

static void correlate(const dfe_level *level) {
    int n = draw(1, DFE_POSITIONS), channels = draw(1, DFE_CHANNELS), outputs = draw(1, DFE_OUTPUTS);
    int8_t *e = bytes(DFE_POSITIONS * DFE_OUTPUTS, draw(-127, -120), draw(-120, 127));
    int8_t *x[DFE_POSITIONS];
    for (int i = 0; i < n; i++) x[i] = bytes(channels, 0, 127);
    memset(e + n * DFE_OUTPUTS, 0, (size_t)(DFE_POSITIONS - n) * DFE_OUTPUTS);
    fresh();
    dfe_portable.correlate((const int8_t *const *)x, channels, e, n, outputs, wanted);
    level->correlate((const int8_t *const *)x, channels, e, n, outputs, found);
    for (int c = 0; c < channels; c++) /* beyond the outputs a level may write what it likes */
        memcpy(found + c * DFE_OUTPUTS + outputs, wanted + c * DFE_OUTPUTS + outputs,
               (size_t)(DFE_OUTPUTS - outputs) * sizeof *found);
    check(level->name, "correlate");
    for (int i = 0; i < n; i++) free(x[i]);
    free(e);
}

static void dots(const dfe_level *level) {
    int n = draw(1, 70), channels = draw(1, 40), step = n + draw(0, 9);
    int8_t *e = bytes(n, -127, draw(-127, 127)), *w = bytes(channels * step, -127, draw(-127, 127));
    fresh();
    dfe_portable.dots(e, n, w, step, channels, wanted);
    level->dots(e, n, w, step, channels, found);
    check(level->name, "dots");
    free(e);
    free(w);
}

/* A whole one: the number of a level that is in use. */
static void convolve(int32_t number) {
    static const int given[] = {1, 2, 3, 4, 8, 12, 16, 33, 40}, made[] = {1, 3, 8, 16, 17, 24, 33, 48, 64, 70};
    int alone = draw(0, 1), c = given[draw(0, 8)], outputs = alone ? c : made[draw(0, 9)];
    dfe_conv conv = {draw(5, 12), draw(5, 20), c, outputs, draw(1, 5), draw(1, 5), draw(1, 3), draw(1, 3),
                     draw(0, 2), draw(0, 2), draw(0, 2), draw(0, 2), alone, draw(0, 16), 0, 0, 0, 0};
    int batch = draw(1, 3), size = batch * dfe_out_height(&conv) * dfe_out_width(&conv) * outputs;
    int8_t *x = bytes(batch * conv.height * conv.width * c, 0, 127), *h = bytes(size, 0, 0);
    int8_t *w = bytes(dfe_weights(&conv), -127, 127), *same = bytes(size, 1, 1);
    int32_t *numbers = malloc((size_t)(3 * outputs) * sizeof *numbers), scaled = draw(0, 1);
    dfe_scaling scaling = {numbers + outputs, numbers + 2 * outputs, NULL};
    for (int o = 0; o < outputs; o++) {
        int own = draw(0, conv.shift);
        numbers[o] = draw(-40000, 40000);
        numbers[outputs + o] = 1 << (conv.shift - own);
        numbers[2 * outputs + o] = 128 << own;
    }
    for (int turn = 0; turn < 2; turn++) {
        dfe_use_level(turn ? number : 0);
        if (scaled) dfe_conv_scaled(&conv, alone ? c : 1, batch, x, w, numbers, scaling, turn ? h : same);
        else dfe_conv_relu(&conv, batch, x, w, numbers, turn ? h : same);
    }
    fresh();
    found[0] += memcmp(h, same, (size_t)size) != 0;
    check(dfe_level_name(number), "convolve");
    free(x), free(h), free(w), free(same), free(numbers);
}

int main(void) {
    for (int i = 0; i < SUMS; i++) before[i] = draw(-(1 << 20), 1 << 20);
    for (int32_t number = 0; dfe_level_name(number); number++) {
        if (dfe_use_level(number) != DFE_OK) continue;
        for (int i = 0; i < CASES; i++) {
            multiply(dfe_level_now());
            depthwise(dfe_level_now());
            scale(dfe_level_now());
            correlate(dfe_level_now());
            dots(dfe_level_now());
            convolve(number);
        }
        printf("%s %d\n", dfe_level_name(number), CASES);
    }
    return 0;
}
