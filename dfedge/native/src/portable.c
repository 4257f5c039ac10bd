/* The hot loops in plain C: the definition of what every other set computes. */
#include "arithmetic.h"
#include "level.h"

#ifdef DFE_PORTABLE

static void multiply(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                     int32_t outputs, int32_t *acc) {
    for (int32_t p = 0; p < pixels; p++, acc += DFE_OUTPUTS) {
        for (int32_t r = 0; r < taps->rows; r++) {
            const int8_t *seen = x[p] + r * taps->input_step;
            const int8_t *w = taps->weight + r * taps->row_step;
            for (int32_t k = 0; k < taps->run; k++, w += taps->stride) {
                int32_t v = seen[k];
                if (v == 0) continue; /* half of all activations */
                for (int32_t o = 0; o < outputs; o++) acc[o] += v * w[o];
            }
        }
    }
}

static void depthwise(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                      int32_t outputs, int32_t *acc) {
    for (int32_t p = 0; p < pixels; p++, acc += DFE_OUTPUTS)
        for (int32_t r = 0; r < taps->rows; r++) {
            const int8_t *seen = x[p] + r * taps->input_step;
            const int8_t *w = taps->weight + r * taps->row_step;
            for (int32_t k = 0; k < taps->run; k++, seen += taps->stride, w += taps->stride)
                for (int32_t o = 0; o < outputs; o++) acc[o] += seen[o] * w[o];
        }
}

static void activate(const int32_t *acc, int32_t outputs, int32_t shift, int8_t *out) {
    for (int32_t o = 0; o < outputs; o++) out[o] = dfe_activation(acc[o], shift);
}

static void scale(const int32_t *acc, int32_t outputs, const int32_t *lift, const int32_t *limit,
                  int32_t shift, int8_t *out) {
    for (int32_t o = 0; o < outputs; o++) out[o] = dfe_scaled(acc[o], lift[o], limit[o], shift);
}

static void correlate(const int8_t *const *x, int32_t channels, const int8_t *e, int32_t n,
                      int32_t outputs, int32_t *acc) {
    for (int32_t c = 0; c < channels; c++, acc += DFE_OUTPUTS) {
        for (int32_t i = 0; i < n; i++) {
            int32_t v = x[i][c];
            if (v == 0) continue;
            const int8_t *row = e + (ptrdiff_t)i * DFE_OUTPUTS;
            for (int32_t o = 0; o < outputs; o++) acc[o] += v * row[o];
        }
    }
}

static void dots(const int8_t *e, int32_t n, const int8_t *w, ptrdiff_t step, int32_t channels,
                 int32_t *acc) {
    for (int32_t c = 0; c < channels; c++, w += step) {
        int32_t total = 0;
        for (int32_t i = 0; i < n; i++) total += e[i] * w[i];
        acc[c] += total;
    }
}

/* -- packed weights, one after the other --------------------------------------------------------- */

enum { PACKED = DFE_PANEL_WIDTH };

static void pack(const int8_t *w, ptrdiff_t stride, int32_t n, int32_t outputs, int8_t *packed) {
    for (; n > 0; n--, w += stride, packed += PACKED)
        for (int32_t o = 0; o < PACKED; o++) packed[o] = o < outputs ? w[o] : 0;
}

static void sums(const int8_t *x, ptrdiff_t step, int32_t count, const dfe_packed_rows *rows,
                 const int32_t *start, int32_t *acc) {
    for (; count > 0; count--, x += step, acc += PACKED) {
        const int32_t *from = start ? start : acc;
        int32_t a = from[0], b = from[1], c = from[2], d = from[3];
        for (int32_t r = 0; r < rows->rows; r++) {
            const int8_t *seen = x + r * rows->input_step, *end = seen + rows->run;
            const int8_t *w = rows->packed + r * rows->packed_step;
            for (; seen < end; seen++, w += PACKED) {
                int32_t v = *seen;
                if (v == 0) continue;
                a += v * w[0];
                b += v * w[1];
                c += v * w[2];
                d += v * w[3];
            }
        }
        acc[0] = a;
        acc[1] = b;
        acc[2] = c;
        acc[3] = d;
    }
}

static void floored(const int32_t *acc, int32_t count, int32_t outputs, int32_t shift, int8_t *out,
                    ptrdiff_t step) {
    for (; count > 0; count--, acc += PACKED, out += step)
        for (int32_t o = 0; o < outputs; o++) out[o] = dfe_floored(acc[o], shift);
}

static const dfe_panel_kernels panel = {PACKED, 1, pack, sums, floored};

const dfe_level dfe_portable = {"portable", DFE_SMALL ? &panel : NULL, multiply, depthwise, activate, scale, correlate,
                                dots, dfe_move_plain, dfe_lookup_plain};

#endif
