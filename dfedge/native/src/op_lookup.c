#include "operation.h"

/* The channels' tables lie one after the other; as many of them at a time as a cache holds. */
static void each(const int8_t *x, ptrdiff_t n, int32_t channels, const int8_t *table, int8_t *out) {
    for (int32_t first = 0; first < channels; first += DFE_OUTPUTS) {
        int32_t end = first + dfe_some(channels - first);
        for (ptrdiff_t i = 0; i < n; i += channels)
            for (int32_t c = first; c < end; c++)
                out[i + c] = table[c * DFE_LEVELS + (x[i + c] & (DFE_LEVELS - 1))];
    }
}

void dfe_run_lookup(const dfe_work *w) {
    const int8_t *table = dfe_constants(w->image->program) + w->op->table;
    ptrdiff_t n = dfe_values(w->given);
    if (w->op->groups > 1) {
        each(w->x, n, w->op->channels, table, w->out);
    } else {
        dfe_level_now()->lookup(w->x, n, table, w->out);
    }
}

int dfe_good_lookup(const dfe_program *p, const dfe_operation *op, dfe_shape given,
                    dfe_shape other) {
    (void)other;
    int64_t bytes = DFE_LEVELS * (int64_t)op->groups;
    if (!dfe_alike(dfe_made(op), given) || (op->groups != 1 && op->groups != op->channels) ||
        op->table < 0 || op->table + bytes > p->constant_bytes)
        return 0;
    for (int64_t i = 0; i < bytes; i++)
        if (dfe_constants(p)[op->table + i] < 0) return 0;
    return 1;
}
