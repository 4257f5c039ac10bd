#include "operation.h"

void dfe_run_lookup(const dfe_work *w) {
    const int8_t *table = dfe_constants(w->image->program) + w->op->table;
    ptrdiff_t n = dfe_values(w->given);
    for (ptrdiff_t i = 0; i < n; i++) w->out[i] = table[w->x[i] & DFE_MAX];
}

int dfe_good_lookup(const dfe_program *p, const dfe_operation *op, dfe_shape given,
                    dfe_shape other) {
    (void)other;
    if (!dfe_alike(dfe_made(op), given) || op->table < 0 ||
        op->table > p->constant_bytes - DFE_LEVELS)
        return 0;
    for (int32_t i = 0; i < DFE_LEVELS; i++)
        if (dfe_constants(p)[op->table + i] < 0) return 0;
    return 1;
}
