/* A call whose buffers say how large they are. */
#include "check.h"
#include "kept.h"

static int holds(dfe_buffer b, int64_t bytes) { return b.at && b.bytes >= bytes; }

static int words(dfe_buffer b, int64_t count) { return holds(b, count * (int64_t)sizeof(int32_t)); }

/* Whether the table is as long as its first fields say; the rest is dfe_check's. */
static int whole(dfe_buffer table) {
    const dfe_program *p = table.at;
    return holds(table, sizeof *p) && (p->abi != DFE_ABI || holds(table, dfe_table_bytes(p)));
}

int dfe_check_sized(dfe_buffer table) {
    if ((uintptr_t)table.at % DFE_ALIGN) return DFE_MISALIGNED;
    return whole(table) ? dfe_check(table.at) : DFE_SMALL_TENSOR;
}

static int64_t latent_values(const dfe_program *p, int32_t batch) {
    dfe_shape s = dfe_latent(p);
    return (int64_t)batch * s.height * s.width * s.channels;
}

static int64_t seen_values(const dfe_program *p, int32_t batch) {
    int64_t sum = 0;
    for (int32_t i = 0; i < p->layers; i++) sum += dfe_feature_count(p, dfe_layers(p) + i);
    return sum * batch;
}

static int results(const dfe_program *p, int call, int32_t batch, const dfe_buffers *given) {
    if (call == DFE_FEATURES)
        return holds(given->first, seen_values(p, batch)) &&
               holds(given->second, latent_values(p, batch));
    return words(given->first, (int64_t)batch * p->classes) &&
           (call == DFE_INFER || words(given->second, p->layers));
}

int dfe_run_kept(int call, int64_t batch, const dfe_buffers *given, const void *kept) {
    const dfe_program *p = given->program.at;
    if (call < DFE_INFER || call > DFE_FEATURES) return DFE_BAD_CALL; /* whose buffers are unknown */
    if (batch < 1 || batch > INT32_MAX) return DFE_BAD_BATCH;
    int32_t samples = (int32_t)batch;
    int trains = call == DFE_TRAIN || call == DFE_TRAIN_FROM;
    if (!holds(given->state, p->state_bytes) ||
        !holds(given->x, dfe_input_values(p, call, samples)) ||
        (trains && !words(given->y, samples)) || !results(p, call, samples, given)) {
        dfe_memory memory; /* a call that is refused in any case is refused as that */
        int status = dfe_plan_call(p, call, samples, &memory);
        return status == DFE_OK ? DFE_SMALL_TENSOR : status;
    }
    if ((trains && (uintptr_t)given->y.at % DFE_ALIGN) || (uintptr_t)given->first.at % DFE_ALIGN ||
        (trains && (uintptr_t)given->second.at % DFE_ALIGN))
        return DFE_MISALIGNED;
    size_t size = given->arena.bytes < 0 ? 0 : (size_t)given->arena.bytes;
    return dfe_run_checked(call, p, given->state.at, samples, given->x.at, given->y.at,
                           given->first.at, given->second.at, given->arena.at, size, kept);
}

int dfe_run_known(int call, int64_t batch, const dfe_buffers *given) {
    return dfe_run_kept(call, batch, given, NULL);
}

int dfe_run_sized(int call, int64_t batch, const dfe_buffers *given) {
    int status = dfe_check_sized(given->program);
    return status == DFE_OK ? dfe_run_known(call, batch, given) : status;
}
