/* The hot loops in plain C: the definition of what every other set computes. */
#include "arithmetic.h"
#include "level.h"

#if !DFE_SMALL

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

const dfe_level dfe_portable = {"portable", NULL, multiply, depthwise, activate, scale, correlate, dots,
                                dfe_move_plain, dfe_lookup_plain};

#endif
