#include "operation.h"

static int is_vector(dfe_shape s) { return s.height == 1 && s.width == 1; }

void dfe_run_multiply(const dfe_work *w) {
    const dfe_operation *op = w->op;
    dfe_shape by_shape = dfe_value_shape(w->image->program,
                                         dfe_value_read(w->image->program, op, 1));
    ptrdiff_t positions = (ptrdiff_t)op->height * op->width;
    int32_t channels = op->channels, zero = op->zero, other = op->other_zero;
    int8_t made[DFE_OUTPUTS];
    for (ptrdiff_t p = 0; p < positions; p++) {
        const int8_t *a = w->x + p * channels;
        const int8_t *by = is_vector(by_shape) ? w->other : w->other + p * channels;
        for (int32_t i = 0; i < channels; i += DFE_OUTPUTS) {
            int32_t count = dfe_some(channels - i);
            for (int32_t j = 0; j < count; j++) {
                int32_t product = (a[i + j] - zero) * (by[i + j] - other);
                made[j] = dfe_floored(product * op->factor + op->offset, op->shift);
            }
            __builtin_memcpy(w->out + p * channels + i, made, (size_t)count);
        }
    }
}

int dfe_good_multiply(const dfe_program *p, const dfe_operation *op, dfe_shape given,
                      dfe_shape other) {
    (void)p;
    int vector = is_vector(other) && other.channels == op->channels;
    return dfe_alike(dfe_made(op), given) && (vector || dfe_alike(given, other)) &&
           dfe_within(op->zero, 0, DFE_MAX) && dfe_within(op->other_zero, 0, DFE_MAX) &&
           dfe_good_sum(op, DFE_MAX * DFE_MAX * dfe_size(op->factor));
}
