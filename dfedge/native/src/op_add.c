#include "operation.h"

void dfe_run_add(const dfe_work *w) {
    const dfe_operation *op = w->op;
    int32_t factor = op->factor, other = op->other, offset = op->offset, shift = op->shift;
    int8_t made[DFE_OUTPUTS];
    ptrdiff_t n = dfe_values(w->given);
    for (ptrdiff_t i = 0; i < n; i += DFE_OUTPUTS) {
        const int8_t *a = w->x + i, *c = w->other + i;
        int32_t count = dfe_some(n - i);
        for (int32_t j = 0; j < count; j++)
            made[j] = dfe_floored(a[j] * factor + c[j] * other + offset, shift);
        __builtin_memcpy(w->out + i, made, (size_t)count);
    }
}

int dfe_good_add(const dfe_program *p, const dfe_operation *op, dfe_shape given, dfe_shape other) {
    (void)p;
    return dfe_alike(dfe_made(op), given) && dfe_alike(given, other) &&
           dfe_good_sum(op, DFE_MAX * (dfe_size(op->factor) + dfe_size(op->other)));
}
