#include "frozen.h"

#include "arithmetic.h"
#include "geometry.h"
#include "level.h"

enum { SWISH_MAX = 255 };

/* So many at a time, read before any is written. */
static int32_t some(ptrdiff_t rest) { return rest < DFE_OUTPUTS ? (int32_t)rest : DFE_OUTPUTS; }

static void put(int8_t *to, const int8_t *made, int32_t n) {
    __builtin_memcpy(to, made, (size_t)n);
}

void dfe_mix(const dfe_frozen *step, ptrdiff_t n, const int8_t *a, const int8_t *c, int8_t *out) {
    int32_t factor = step->factor, other = step->other, offset = step->offset;
    int8_t made[DFE_OUTPUTS];
    for (ptrdiff_t i = 0; i < n; i += DFE_OUTPUTS) {
        int32_t count = some(n - i);
        if (c)
            for (int32_t j = 0; j < count; j++)
                made[j] = dfe_floored(a[i + j] * factor + c[i + j] * other + offset, step->shift);
        else
            for (int32_t j = 0; j < count; j++)
                made[j] = dfe_floored(a[i + j] * factor + offset, step->shift);
        put(out + i, made, count);
    }
}

void dfe_gate(const dfe_frozen *step, const int8_t *a, const int8_t *g, int vector, int8_t *out) {
    ptrdiff_t positions = (ptrdiff_t)step->height * step->width;
    int32_t channels = step->channels, zero = step->zero, other = step->other_zero;
    int8_t made[DFE_OUTPUTS];
    for (ptrdiff_t p = 0; p < positions; p++, a += channels, out += channels) {
        const int8_t *by = vector ? g : g + p * channels;
        for (int32_t i = 0; i < channels; i += DFE_OUTPUTS) {
            int32_t count = some(channels - i);
            for (int32_t j = 0; j < count; j++) {
                int32_t product = (a[i + j] - zero) * (by[i + j] - other);
                made[j] = dfe_floored(product * step->factor + step->offset, step->shift);
            }
            put(out + i, made, count);
        }
    }
}

void dfe_swish(const dfe_frozen *step, ptrdiff_t n, const int8_t *a, int8_t *out) {
    int32_t slope = step->slope, half = step->half, bend = step->bend;
    int8_t made[DFE_OUTPUTS];
    for (ptrdiff_t i = 0; i < n; i += DFE_OUTPUTS) {
        int32_t count = some(n - i);
        for (int32_t j = 0; j < count; j++) {
            int32_t v = a[i + j] - step->zero, t = v * slope + half;
            t = dfe_min((t > 0 ? t : 0) >> bend, SWISH_MAX);
            made[j] = dfe_floored(v * t * step->factor + step->offset, step->shift);
        }
        put(out + i, made, count);
    }
}

/* Channels c .. c + n of one window, summed. */
static void window_sum(const dfe_frozen *step, dfe_shape given, const int8_t *x, int32_t n,
                       int32_t *sum) {
    for (int32_t i = 0; i < n; i++) sum[i] = 0;
    for (int32_t ky = 0; ky < step->kernel_height; ky++)
        for (int32_t kx = 0; kx < step->kernel_width; kx++) {
            const int8_t *at = x + ((ptrdiff_t)ky * given.width + kx) * given.channels;
            for (int32_t i = 0; i < n; i++) sum[i] += at[i];
        }
}

void dfe_mean(const dfe_frozen *step, dfe_shape given, const int8_t *x, int8_t *out) {
    for (int32_t y = 0; y < step->height; y++)
        for (int32_t across = 0; across < step->width; across++) {
            const int8_t *at = x + ((ptrdiff_t)y * given.width + across) * step->stride *
                                       given.channels;
            for (int32_t c = 0; c < given.channels; c += DFE_OUTPUTS) {
                int32_t sum[DFE_OUTPUTS], n = some(given.channels - c);
                window_sum(step, given, at + c, n, sum);
                for (int32_t i = 0; i < n; i++)
                    *out++ = dfe_floored(sum[i] * step->factor + step->offset, step->shift);
            }
        }
}

void dfe_largest(const dfe_frozen *step, dfe_shape given, const int8_t *x, int8_t *out) {
    for (int32_t y = 0; y < step->height; y++) {
        dfe_span rows = dfe_window(y, step->stride, step->top, step->kernel_height, given.height);
        for (int32_t across = 0; across < step->width; across++) {
            dfe_span columns = dfe_window(across, step->stride, step->left, step->kernel_width,
                                          given.width);
            ptrdiff_t first = (ptrdiff_t)y * step->stride - step->top;
            ptrdiff_t left = (ptrdiff_t)across * step->stride - step->left;
            for (int32_t c = 0; c < given.channels; c += DFE_OUTPUTS) {
                int8_t top[DFE_OUTPUTS] = {0};
                int32_t n = some(given.channels - c);
                for (int32_t ky = rows.begin; ky < rows.end; ky++)
                    for (int32_t kx = columns.begin; kx < columns.end; kx++) {
                        const int8_t *at = x + c + ((first + ky) * given.width + left + kx) *
                                                       given.channels;
                        for (int32_t i = 0; i < n; i++) top[i] = at[i] > top[i] ? at[i] : top[i];
                    }
                put(out, top, n);
                out += n;
            }
        }
    }
}

static int8_t *filled(int8_t *out, int32_t fill, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) out[i] = (int8_t)fill;
    return out + n;
}

void dfe_surround(const dfe_frozen *step, dfe_shape given, const int8_t *x, int8_t *out) {
    ptrdiff_t row = (ptrdiff_t)given.width * given.channels;
    ptrdiff_t whole = (ptrdiff_t)step->width * step->channels;
    out = filled(out, step->zero, step->top * whole);
    for (int32_t y = 0; y < given.height; y++, x += row) {
        out = filled(out, step->zero, (ptrdiff_t)step->left * given.channels);
        __builtin_memmove(out, x, (size_t)row);
        out = filled(out + row, step->zero, (ptrdiff_t)step->right * given.channels);
    }
    filled(out, step->zero, step->bottom * whole);
}

void dfe_beside(ptrdiff_t positions, const int8_t *x, ptrdiff_t channels, int8_t *out,
                ptrdiff_t step) {
    for (ptrdiff_t p = 0; p < positions; p++, x += channels, out += step)
        __builtin_memmove(out, x, (size_t)channels);
}
