#include "operation.h"

static const int32_t *order(const dfe_program *p, const dfe_operation *op) {
    return (const int32_t *)(const void *)(dfe_constants(p) + op->order);
}

void dfe_run_gather(const dfe_work *w) {
    const dfe_operation *op = w->op;
    const int32_t *rows = order(w->image->program, op), *columns = rows + op->height;
    ptrdiff_t channels = op->channels, row = (ptrdiff_t)w->given.width * channels;
    int8_t *out = w->out;
    for (int32_t y = 0; y < op->height; y++) {
        const int8_t *from = w->x + rows[y] * row;
        for (int32_t x = 0; x < op->width; x++, out += channels)
            __builtin_memmove(out, from + columns[x] * channels, (size_t)channels);
    }
}

int dfe_good_gather(const dfe_program *p, const dfe_operation *op, dfe_shape given,
                    dfe_shape other) {
    (void)other;
    int64_t count = (int64_t)op->height + op->width;
    if (op->channels != given.channels || op->order < 0 || op->order % 4 ||
        op->order + 4 * count > p->constant_bytes)
        return 0;
    for (int64_t i = 0; i < count; i++) {
        int32_t side = i < op->height ? given.height : given.width;
        if (!dfe_within(order(p, op)[i], 0, side - 1)) return 0;
    }
    return 1;
}
