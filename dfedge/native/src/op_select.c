#include "operation.h"

static const int32_t *order(const dfe_program *p, const dfe_operation *op) {
    return (const int32_t *)(const void *)(dfe_constants(p) + op->order);
}

void dfe_run_select(const dfe_work *w) {
    const dfe_operation *op = w->op;
    const int32_t *from = order(w->image->program, op);
    ptrdiff_t positions = (ptrdiff_t)op->height * op->width;
    int8_t *out = w->out;
    for (ptrdiff_t p = 0; p < positions; p++) {
        const int8_t *at = w->x + p * w->given.channels;
        for (int32_t c = 0; c < op->channels; c++) *out++ = at[from[c]];
    }
}

int dfe_good_select(const dfe_program *p, const dfe_operation *op, dfe_shape given,
                    dfe_shape other) {
    (void)other;
    if (op->height != given.height || op->width != given.width || op->order < 0 ||
        op->order % 4 || op->order + 4 * (int64_t)op->channels > p->constant_bytes)
        return 0;
    for (int32_t c = 0; c < op->channels; c++)
        if (!dfe_within(order(p, op)[c], 0, given.channels - 1)) return 0;
    return 1;
}
