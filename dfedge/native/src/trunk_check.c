/* What a frozen trunk's table must hold to be run: shapes that meet, sums that fit int32. */
#include "arithmetic.h"
#include "check.h"
#include "frozen.h"
#include "geometry.h"
#include "trunk.h"

#define INT32_LIMIT (INT64_C(1) << 31)
enum {
    MAX_STEPS = 1 << 12,
    MAX_READS = 1 << 14,
    MAX_STEP_SHIFT = 22,
    MAX_POOLED = 1 << 22,
    PRODUCT_MAX = 128 * 127, /* whatever byte a weight is */
    BIAS_LIMIT = 1 << 30,
    SWISH_MAX = 255,
};

static int64_t size_of(int32_t v) { return v < 0 ? -(int64_t)v : v; }

static int alike(dfe_shape a, dfe_shape b) {
    return a.height == b.height && a.width == b.width && a.channels == b.channels;
}

static int good_words(const dfe_program *p, int32_t offset, int32_t count) {
    return offset >= 0 && offset % 4 == 0 && offset + 4 * (int64_t)count <= p->constant_bytes;
}

static int good_scaling(const dfe_program *p, const dfe_frozen *step) {
    const int8_t *constants = dfe_constants(p);
    const int32_t *bias = (const int32_t *)(const void *)(constants + step->bias);
    const int32_t *lift = (const int32_t *)(const void *)(constants + step->lift);
    const int32_t *limit = (const int32_t *)(const void *)(constants + step->limit);
    for (int32_t o = 0; o < step->channels; o++)
        if (!dfe_within(bias[o], -BIAS_LIMIT, BIAS_LIMIT) ||
            !dfe_within(lift[o], 0, 1 << step->shift) || limit[o] < 0 ||
            (int64_t)limit[o] * lift[o] > INT64_C(128) << step->shift)
            return 0;
    return 1;
}

static int good_windows(const dfe_program *p, const dfe_frozen *step, int32_t most_taps) {
    dfe_conv c = dfe_windows(step, dfe_value_shape(p, dfe_value_read(p, step, 0)));
    return dfe_good_geometry(&c, most_taps) && step->height == dfe_out_height(&c) &&
           step->width == dfe_out_width(&c);
}

static int good_convolution(const dfe_program *p, const dfe_frozen *step) {
    if (!dfe_within(step->shift, 0, MAX_STEP_SHIFT) || !dfe_within(step->depthwise, 0, 1) ||
        !good_windows(p, step, DFE_MAX_KERNEL))
        return 0;
    dfe_conv c = dfe_windows(step, dfe_value_shape(p, dfe_value_read(p, step, 0)));
    int64_t fan_in = (int64_t)dfe_taps(&c) * (c.depthwise ? 1 : c.in_channels);
    int64_t weights = fan_in * c.channels;
    return fan_in * PRODUCT_MAX + BIAS_LIMIT < INT32_LIMIT && step->weight >= 0 &&
           step->weight + weights <= p->constant_bytes &&
           good_words(p, step->bias, step->channels) && good_words(p, step->lift, step->channels) &&
           good_words(p, step->limit, step->channels) && good_scaling(p, step);
}

/* Sums that reach `most` beside the offset fit int32. */
static int good_sum(const dfe_frozen *step, int64_t most) {
    return dfe_within(step->shift, 0, DFE_MAX_SHIFT) &&
           most + size_of(step->offset) < INT32_LIMIT;
}

static int good_surround(const dfe_frozen *step, dfe_shape given) {
    return dfe_within(step->zero, 0, DFE_MAX) && dfe_within(step->top, 0, step->height) &&
           dfe_within(step->bottom, 0, step->height) && dfe_within(step->left, 0, step->width) &&
           dfe_within(step->right, 0, step->width) && step->channels == given.channels &&
           (int64_t)given.height + step->top + step->bottom == step->height &&
           (int64_t)given.width + step->left + step->right == step->width;
}

static int good_swish(const dfe_frozen *step) {
    return dfe_within(step->zero, 0, DFE_MAX) && dfe_within(step->bend, 0, DFE_MAX_SHIFT) &&
           DFE_MAX * size_of(step->slope) + size_of(step->half) < INT32_LIMIT &&
           good_sum(step, DFE_MAX * SWISH_MAX * size_of(step->factor));
}

static int good_concat(const dfe_program *p, const dfe_frozen *step) {
    int64_t channels = 0;
    for (int32_t i = 0; i < step->reads; i++) {
        dfe_shape one = dfe_value_shape(p, dfe_value_read(p, step, i));
        if (one.height != step->height || one.width != step->width) return 0;
        channels += one.channels;
    }
    return channels == step->channels;
}

static int good_step(const dfe_program *p, const dfe_frozen *step) {
    dfe_shape made = {step->height, step->width, step->channels};
    dfe_shape given = dfe_value_shape(p, dfe_value_read(p, step, 0)), other = given;
    if (step->reads > 1) other = dfe_value_shape(p, dfe_value_read(p, step, 1));
    int same = alike(made, given), channels = made.channels == given.channels;
    if (step->reads != 1 && step->kind != DFE_CONCAT &&
        !(step->reads == 2 && (step->kind == DFE_MIX || step->kind == DFE_GATE)))
        return 0;
    switch (step->kind) {
        case DFE_CONVOLVE: return good_convolution(p, step);
        case DFE_SURROUND: return good_surround(step, given);
        case DFE_MIX:
            return same && alike(given, other) &&
                   good_sum(step, DFE_MAX * (size_of(step->factor) + size_of(step->other)));
        case DFE_GATE: {
            int vector = other.height == 1 && other.width == 1 && other.channels == made.channels;
            return step->reads == 2 && same && (vector || alike(given, other)) &&
                   dfe_within(step->zero, 0, DFE_MAX) && dfe_within(step->other_zero, 0, DFE_MAX) &&
                   good_sum(step, DFE_MAX * DFE_MAX * size_of(step->factor));
        }
        case DFE_SWISH: return same && good_swish(step);
        case DFE_MEAN:
            return channels && !step->top && !step->bottom && !step->left && !step->right &&
                   good_windows(p, step, MAX_POOLED) &&
                   good_sum(step, DFE_MAX * (int64_t)step->kernel_height * step->kernel_width *
                                      size_of(step->factor));
        case DFE_LARGEST: return channels && good_windows(p, step, MAX_POOLED);
        case DFE_CONCAT: return good_concat(p, step);
    }
    return 0;
}

static int by_rows(const dfe_frozen *step) {
    return step->kind != DFE_SURROUND && step->kind != DFE_CONCAT;
}

/* What a step makes row by row only the next one reads, which needs no more rows at a time; in a
 * chain that is not too long.  What others read is whole. */
static int good_rows(const dfe_program *p, int32_t number, int32_t *chain) {
    const dfe_frozen *step = dfe_steps(p) + number, *next = step + 1;
    for (int32_t i = 0; i < step->reads; i++) {
        int32_t read = dfe_value_read(p, step, i);
        if (read == 0 || dfe_steps(p)[read - 1].rows == 0) continue;
        if (read != number || (i && !alike(dfe_value_shape(p, read), dfe_value_shape(p, number + 1))))
            return 0;
    }
    *chain = step->rows ? *chain + 1 : 0;
    if (step->rows == 0) return 1;
    return number + 1 < p->steps && *chain < DFE_MAX_CHAIN && by_rows(step) && by_rows(next) &&
           dfe_within(step->rows, dfe_max(dfe_window_rows(next), 1), step->height);
}

int dfe_good_trunk(const dfe_program *p) {
    if (!dfe_within(p->steps, 0, MAX_STEPS) || !dfe_within(p->reads, p->steps, MAX_READS) ||
        p->constant_bytes < 0 || p->constant_bytes % 4 || p->workspace < 0 ||
        !dfe_good_shape(dfe_value_shape(p, 0)) || (p->steps && p->form != DFE_ONE_PASS))
        return 0;
    int32_t next = 0, chain = 0;
    for (int32_t i = 0; i < p->steps; i++) {
        const dfe_frozen *step = dfe_steps(p) + i;
        dfe_shape made = dfe_value_shape(p, i + 1);
        if (step->first != next || !dfe_within(step->reads, 1, p->reads - next) ||
            !dfe_good_shape(made))
            return 0;
        next += step->reads;
        for (int32_t j = 0; j < step->reads; j++)
            if (!dfe_within(dfe_value_read(p, step, j), 0, i)) return 0;
        if (!good_step(p, step) || !good_rows(p, i, &chain)) return 0;
        if (step->rows) made.height = step->rows;
        if (i + 1 < p->steps &&
            (step->place < 0 || step->place + (int64_t)dfe_values(made) > p->workspace))
            return 0;
    }
    return next == p->reads;
}
