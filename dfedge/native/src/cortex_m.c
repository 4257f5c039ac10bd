/* The hot loops over the 32-bit SIMD instructions of a Cortex-M4, M7 or M33: SMLAD adds two products of
 * int16 to a sum.  Four bytes become two pairs, of the even and of the odd ones. */
#include "arithmetic.h"
#include "level.h"

#ifdef DFE_SIMD32

#include "simd32.h"

/* -- a few positions ------------------------------------------------------------------------------ */

enum { EIGHT = 8 };

/* Sums of four outputs. */
typedef struct {
    int32_t a, b, c, d;
} four;

INLINE four load(const int32_t *acc) {
    four sum = {acc[0], acc[1], acc[2], acc[3]};
    return sum;
}

INLINE void store(four sum, int32_t *acc) {
    acc[0] = sum.a;
    acc[1] = sum.b;
    acc[2] = sum.c;
    acc[3] = sum.d;
}

INLINE four times(int32_t v, uint32_t w, four sum) {
    int32_t here = (int32_t)even(w), beside = (int32_t)odd(w);
    sum.a = __smlabb(v, here, sum.a);
    sum.b = __smlabb(v, beside, sum.b);
    sum.c = __smlabt(v, here, sum.c);
    sum.d = __smlabt(v, beside, sum.d);
    return sum;
}

static void multiply_eight(const int8_t *x, const dfe_taps_run *taps, const int8_t *weight,
                           int32_t *acc) {
    four low = load(acc), high = load(acc + 4);
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *seen = x + r * taps->input_step, *end = seen + taps->run;
        const int8_t *w = weight + r * taps->row_step;
        ptrdiff_t stride = taps->stride;
        for (; seen < end; w += stride) {
            int32_t v = *seen++;
            if (v == 0) continue;
            low = times(v, four_bytes(w), low);
            high = times(v, four_bytes(w + 4), high);
        }
    }
    store(low, acc);
    store(high, acc + 4);
}

static void multiply(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                     int32_t outputs, int32_t *acc) {
    for (int32_t p = 0; p < pixels; p++, acc += DFE_OUTPUTS) {
        int32_t o = 0;
        for (; o + EIGHT <= outputs; o += EIGHT) multiply_eight(x[p], taps, taps->weight + o, acc + o);
        if (o == outputs) continue;
        for (int32_t r = 0; r < taps->rows; r++) {
            const int8_t *seen = x[p] + r * taps->input_step, *end = seen + taps->run;
            const int8_t *w = taps->weight + r * taps->row_step;
            for (; seen < end; w += taps->stride) {
                int32_t v = *seen++;
                if (v == 0) continue;
                for (int32_t i = o; i < outputs; i++) acc[i] += v * w[i];
            }
        }
    }
}

static void depthwise_four(const int8_t *x, const dfe_taps_run *taps, const int8_t *weight,
                           int32_t *acc) {
    four sum = load(acc);
    ptrdiff_t stride = taps->stride;
    for (int32_t r = 0; r < taps->rows; r++) {
        const int8_t *seen = x + r * taps->input_step, *w = weight + r * taps->row_step;
        for (int32_t k = taps->run; k > 0; k--, seen += stride, w += stride) {
            uint32_t v = four_bytes(seen), u = four_bytes(w);
            int32_t x0 = (int32_t)even_positive(v), x1 = (int32_t)odd_positive(v);
            int32_t w0 = (int32_t)even(u), w1 = (int32_t)odd(u);
            sum.a = __smlabb(x0, w0, sum.a);
            sum.b = __smlabb(x1, w1, sum.b);
            sum.c = __smlatt(x0, w0, sum.c);
            sum.d = __smlatt(x1, w1, sum.d);
        }
    }
    store(sum, acc);
}

static void depthwise(const int8_t *const *x, int32_t pixels, const dfe_taps_run *taps,
                      int32_t outputs, int32_t *acc) {
    for (int32_t p = 0; p < pixels; p++, acc += DFE_OUTPUTS) {
        int32_t o = 0;
        for (; o + 4 <= outputs; o += 4) depthwise_four(x[p] + o, taps, taps->weight + o, acc + o);
        for (; o < outputs; o++)
            for (int32_t r = 0; r < taps->rows; r++)
                for (int32_t k = 0; k < taps->run; k++)
                    acc[o] += x[p][r * taps->input_step + k * taps->stride + o] *
                              taps->weight[r * taps->row_step + k * taps->stride + o];
    }
}

/* -- what learns ---------------------------------------------------------------------------------- */

enum { PAIRS = DFE_POSITIONS / 2, CHANNELS = 2, QUAD = 4 };

static void activate(const int32_t *acc, int32_t outputs, int32_t shift, int8_t *out) {
    for (int32_t o = 0; o < outputs; o++)
        out[o] = (int8_t)__usat((acc[o] + dfe_half(shift)) >> shift, 7);
}

static void scale(const int32_t *acc, int32_t outputs, const int32_t *lift, const int32_t *limit,
                  int32_t shift, int8_t *out) {
    for (int32_t o = 0; o < outputs; o++) out[o] = dfe_scaled(acc[o], lift[o], limit[o], shift);
}

/* Errors of two positions side by side: [n / 2][outputs]. */
static void pair_errors(const int8_t *e, int32_t pairs, int32_t outputs, uint32_t *to) {
    for (; pairs > 0; pairs--, e += 2 * DFE_OUTPUTS, to += DFE_OUTPUTS)
        for (int32_t o = 0; o < outputs; o += QUAD) {
            uint32_t a = four_bytes(e + o), b = four_bytes(e + DFE_OUTPUTS + o);
            to[o] = lower((uint32_t)even(a), (uint32_t)even(b));
            to[o + 1] = lower((uint32_t)odd(a), (uint32_t)odd(b));
            to[o + 2] = upper((uint32_t)even(a), (uint32_t)even(b));
            to[o + 3] = upper((uint32_t)odd(a), (uint32_t)odd(b));
        }
}

/* Two channels of two positions side by side: [n / 2][2]. */
static void pair_inputs(const int8_t *const *x, int32_t n, int32_t c, int32_t channels,
                        uint32_t *to) {
    for (int32_t i = 0; i < n; i += 2, to += CHANNELS) {
        const int8_t *first = x[i] + c, *second = x[i + 1 < n ? i + 1 : i] + c; /* beyond n e is 0 */
        uint32_t a = channels > 1 ? two_bytes(first) : (uint8_t)*first;
        uint32_t b = channels > 1 ? two_bytes(second) : (uint8_t)*second;
        uint32_t side = lower(a, b);
        to[0] = even_positive(side);
        to[1] = odd_positive(side);
    }
}

INLINE void correlate_quad(const uint32_t *x, const uint32_t *e, int32_t pairs, int32_t *low,
                           int32_t *high) {
    int32_t a = low[0], b = low[1], c = low[2], d = low[3];
    int32_t f = high[0], g = high[1], h = high[2], k = high[3];
    const uint32_t *end = x + pairs * CHANNELS;
    for (; x < end; x += CHANNELS, e += DFE_OUTPUTS) {
        int16x2_t one = (int16x2_t)x[0], two = (int16x2_t)x[1];
        a = __smlad(one, (int16x2_t)e[0], a);
        f = __smlad(two, (int16x2_t)e[0], f);
        b = __smlad(one, (int16x2_t)e[1], b);
        g = __smlad(two, (int16x2_t)e[1], g);
        c = __smlad(one, (int16x2_t)e[2], c);
        h = __smlad(two, (int16x2_t)e[2], h);
        d = __smlad(one, (int16x2_t)e[3], d);
        k = __smlad(two, (int16x2_t)e[3], k);
    }
    low[0] = a;
    low[1] = b;
    low[2] = c;
    low[3] = d;
    high[0] = f;
    high[1] = g;
    high[2] = h;
    high[3] = k;
}

static void correlate(const int8_t *const *x, int32_t channels, const int8_t *e, int32_t n,
                      int32_t outputs, int32_t *acc) {
    uint32_t errors[PAIRS * DFE_OUTPUTS], seen[PAIRS * CHANNELS];
    int32_t pairs = (n + 1) / 2, spare[DFE_OUTPUTS];
    pair_errors(e, pairs, outputs, errors);
    for (int32_t c = 0; c < channels; c += CHANNELS, acc += CHANNELS * DFE_OUTPUTS) {
        int32_t *beside = c + 1 < channels ? acc + DFE_OUTPUTS : spare;
        pair_inputs(x, n, c, channels - c, seen);
        for (int32_t o = 0; o < outputs; o += QUAD)
            correlate_quad(seen, errors + o, pairs, acc + o, beside + o);
    }
}

/* Two channels at a time: both meet the same error. */
static void dots(const int8_t *e, int32_t n, const int8_t *w, ptrdiff_t step, int32_t channels,
                 int32_t *acc) {
    for (; channels > 0; channels -= 2, w += 2 * step, acc += 2) {
        const int8_t *beside = channels > 1 ? w + step : w;
        int32_t a = 0, b = 0, i = 0;
        for (; i + 4 <= n; i += 4) {
            uint32_t here = four_bytes(e + i), one = four_bytes(w + i), two = four_bytes(beside + i);
            a = __smlad(even(here), even(one), __smlad(odd(here), odd(one), a));
            b = __smlad(even(here), even(two), __smlad(odd(here), odd(two), b));
        }
        for (; i < n; i++) {
            a += e[i] * w[i];
            b += e[i] * beside[i];
        }
        acc[0] += a;
        if (channels > 1) acc[1] += b;
    }
}

const dfe_level dfe_cortex_m = {"cortex-m", &dfe_cortex_m_panel, multiply, depthwise, activate, scale, correlate,
                                 dots, dfe_move_plain, dfe_lookup_plain};

#endif
