/* The hot loops of a small processor without vectors, a Cortex-M0+ or a RISC-V RV32: sums of four
 * outputs stay in registers, and zeros, half of all activations, are skipped. */
#include "arithmetic.h"
#include "level.h"

#ifdef DFE_SCALAR

/* Of Thumb-1 eight, too few for what does not share an operand. */
#if defined(__thumb__) && !defined(__thumb2__)
#define FEW_REGISTERS 1
#else
#define FEW_REGISTERS 0
#endif

enum { FOUR = 4 };

static void multiply_four(const int8_t *x, const dfe_taps_run *taps, const int8_t *weight,
                          int32_t *acc) {
    int32_t a = acc[0], b = acc[1], c = acc[2], d = acc[3];
    ptrdiff_t stride = taps->stride;
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *seen = x + r * taps->input_step, *end = seen + taps->run;
        const int8_t *w = weight + r * taps->row_step;
        for (; seen < end; w += stride) {
            int32_t v = *seen++;
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

static void multiply_one(const int8_t *x, const dfe_taps_run *taps, const int8_t *weight,
                         int32_t *acc) {
    int32_t sum = *acc;
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *seen = x + r * taps->input_step, *end = seen + taps->run;
        const int8_t *w = weight + r * taps->row_step;
        for (; seen < end; w += taps->stride) sum += *seen++ * *w;
    }
    *acc = sum;
}

static void multiply(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                     int32_t outputs, int32_t *acc) {
    for (int32_t p = 0; p < pixels; p++, acc += DFE_OUTPUTS) {
        int32_t o = 0;
        for (; o + FOUR <= outputs; o += FOUR) multiply_four(x[p], taps, taps->weight + o, acc + o);
        for (; o < outputs; o++) multiply_one(x[p], taps, taps->weight + o, acc + o);
    }
}

static void depthwise_four(const int8_t *x, const dfe_taps_run *taps, const int8_t *weight,
                           int32_t *acc) {
    int32_t a = acc[0], b = acc[1], c = acc[2], d = acc[3];
    ptrdiff_t stride = taps->stride;
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *seen = x + r * taps->input_step, *w = weight + r * taps->row_step;
        for (int32_t k = taps->run; k > 0; k--, seen += stride, w += stride) {
            a += seen[0] * w[0];
            b += seen[1] * w[1];
            c += seen[2] * w[2];
            d += seen[3] * w[3];
        }
    }
    acc[0] = a;
    acc[1] = b;
    acc[2] = c;
    acc[3] = d;
}

static void depthwise(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                      int32_t outputs, int32_t *acc) {
    for (int32_t p = 0; p < pixels; p++, acc += DFE_OUTPUTS) {
        int32_t o = 0;
        for (; !FEW_REGISTERS && o + FOUR <= outputs; o += FOUR)
            depthwise_four(x[p] + o, taps, taps->weight + o, acc + o);
        for (int32_t r = 0; r < taps->rows && o < outputs; r++) {
            const int8_t *seen = x[p] + r * taps->input_step, *w = taps->weight + r * taps->row_step;
            for (int32_t k = taps->run; k > 0; k--, seen += taps->stride, w += taps->stride)
                for (int32_t i = o; i < outputs; i++) acc[i] += seen[i] * w[i];
        }
    }
}

static void activate(const int32_t *acc, int32_t outputs, int32_t shift, int8_t *out) {
    for (int32_t o = 0; o < outputs; o++) out[o] = dfe_activation(acc[o], shift);
}

static void scale(const int32_t *acc, int32_t outputs, const int32_t *lift, const int32_t *limit,
                  int32_t shift, int8_t *out) {
    for (int32_t o = 0; o < outputs; o++) out[o] = dfe_scaled(acc[o], lift[o], limit[o], shift);
}

/* -- what learns ---------------------------------------------------------------------------------- */

/* An activation other than zero, and the errors that it meets. */
typedef struct {
    int32_t v;
    const int8_t *row;
} met;

static void correlate_four(const met *from, const met *end, int32_t o, int32_t *acc) {
    int32_t a = acc[0], b = acc[1], c = acc[2], d = acc[3];
    for (; from < end; from++) {
        const int8_t *row = from->row + o;
        int32_t v = from->v;
        a += v * row[0];
        b += v * row[1];
        c += v * row[2];
        d += v * row[3];
    }
    acc[0] = a;
    acc[1] = b;
    acc[2] = c;
    acc[3] = d;
}

static void correlate(const int8_t *const *x, int32_t channels, const int8_t *e, int32_t n,
                      int32_t outputs, int32_t *acc) {
    met found[DFE_POSITIONS];
    for (int32_t c = 0; c < channels; c++, acc += DFE_OUTPUTS) {
        met *end = found;
        const int8_t *row = e;
        for (int32_t i = 0; i < n; i++, row += DFE_OUTPUTS) {
            end->v = x[i][c];
            end->row = row;
            end += end->v != 0;
        }
        int32_t o = 0;
        for (; o + FOUR <= outputs; o += FOUR) correlate_four(found, end, o, acc + o);
        for (; o < outputs; o++)
            for (const met *one = found; one < end; one++) acc[o] += one->v * one->row[o];
    }
}

/* Two channels at a time: both meet the same error. */
static void dots(const int8_t *e, int32_t n, const int8_t *w, ptrdiff_t step, int32_t channels,
                 int32_t *acc) {
    for (; channels > 0; channels -= 2, w += 2 * step, acc += 2) {
        const int8_t *one = w, *two = channels > 1 ? w + step : w, *here = e;
        const int8_t *end = e + (FEW_REGISTERS ? 0 : n & -FOUR);
        int32_t a = 0, b = 0;
        for (; here < end; here += FOUR, one += FOUR, two += FOUR) {
            int32_t e0 = here[0], e1 = here[1], e2 = here[2], e3 = here[3];
            a += e0 * one[0] + e1 * one[1] + e2 * one[2] + e3 * one[3];
            b += e0 * two[0] + e1 * two[1] + e2 * two[2] + e3 * two[3];
        }
        for (end = e + n; here < end; here++) {
            a += *here * *one++;
            b += *here * *two++;
        }
        acc[0] += a;
        if (channels > 1) acc[1] += b;
    }
}

/* -- packed weights, one after the other --------------------------------------------------------- */

enum { PACKED = DFE_PANEL_WIDTH };

static void pack(const int8_t *w, ptrdiff_t stride, int32_t n, int32_t outputs, int8_t *packed) {
    for (; n > 0; n--, w += stride, packed += PACKED)
        for (int32_t o = 0; o < PACKED; o++) packed[o] = o < outputs ? w[o] : 0;
}

/* As `multiply_four`, at a fixed stride: as one function for both it takes more instructions an input
 * on Thumb-1, whose registers do not hold a stride as well. */
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

const dfe_level dfe_scalar = {"scalar", &panel, multiply, depthwise, activate, scale, correlate,
                              dots, dfe_move_plain, dfe_lookup_plain};

#endif
