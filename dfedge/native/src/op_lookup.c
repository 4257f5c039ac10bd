#include "operation.h"

void dfe_run_lookup(const dfe_work *w) {
    const int8_t *table = dfe_constants(w->image->program) + w->op->table;
    dfe_level_now()->lookup(w->x, dfe_values(w->given), table, w->out);
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
