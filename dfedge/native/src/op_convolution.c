#include "convolve.h"
#include "kept.h"
#include "operation.h"

enum {
    MAX_SHIFT = 22,
    PRODUCT_MAX = 128 * 127, /* whatever byte a weight is */
    BIAS_LIMIT = 1 << 30,
};

static const int32_t *words(const dfe_program *p, int32_t offset) {
    return (const int32_t *)(const void *)(dfe_constants(p) + offset);
}

const int32_t *dfe_bias_of(const dfe_program *p, const dfe_operation *op) { return words(p, op->bias); }

dfe_scaling dfe_scaling_of(const dfe_program *p, const dfe_operation *op) {
    dfe_scaling s;
    s.lift = words(p, op->lift);
    s.limit = words(p, op->limit);
#if !DFE_SMALL
    s.kept = NULL;
#endif
    return s;
}

void dfe_run_convolution(const dfe_work *w) {
    const dfe_program *p = w->image->program;
    const dfe_operation *op = w->op;
    dfe_conv conv = dfe_windows(op, w->given);
    dfe_scaling scaling = dfe_scaling_of(p, op);
#if !DFE_SMALL
    scaling.kept = dfe_kept_of(w->image->kept, w->number);
#endif
    dfe_conv_scaled_some(&conv, op->groups, 1, w->x, dfe_constants(p) + op->weight,
                         dfe_bias_of(p, op), scaling, w->out, w->outputs);
}

static int good_words(const dfe_program *p, int32_t offset, int32_t count) {
    return offset >= 0 && offset % 4 == 0 && offset + 4 * (int64_t)count <= p->constant_bytes;
}

static int good_scaling(const dfe_program *p, const dfe_operation *op) {
    const int32_t *bias = words(p, op->bias), *lift = words(p, op->lift);
    const int32_t *limit = words(p, op->limit);
    for (int32_t o = 0; o < op->channels; o++)
        if (!dfe_within(bias[o], -BIAS_LIMIT, BIAS_LIMIT) ||
            !dfe_within(lift[o], 0, 1 << op->shift) || limit[o] < 0 ||
            (int64_t)limit[o] * lift[o] > INT64_C(128) << op->shift)
            return 0;
    return 1;
}

int dfe_good_convolution(const dfe_program *p, const dfe_operation *op, dfe_shape given,
                         dfe_shape other) {
    (void)other;
    if (!dfe_within(op->shift, 0, MAX_SHIFT) || !dfe_within(op->groups, 1, op->channels) ||
        given.channels % op->groups || op->channels % op->groups ||
        !dfe_good_windows(op, given, DFE_MAX_KERNEL))
        return 0;
    dfe_conv c = dfe_windows(op, given);
    int64_t fan_in = (int64_t)dfe_taps(&c) * (c.in_channels / op->groups);
    return fan_in * PRODUCT_MAX + BIAS_LIMIT < INT64_C(1) << 31 && op->weight >= 0 &&
           op->weight + fan_in * c.channels <= p->constant_bytes &&
           good_words(p, op->bias, op->channels) && good_words(p, op->lift, op->channels) &&
           good_words(p, op->limit, op->channels) && good_scaling(p, op);
}
