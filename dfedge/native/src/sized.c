/* A call whose buffers say how large they are. */
#include "check.h"

static int holds(dfe_buffer b, int64_t bytes) { return b.at && b.bytes >= bytes; }

static int words(dfe_buffer b, int64_t count) { return holds(b, count * (int64_t)sizeof(int32_t)); }

/* Whether the table is as long as its first fields say; the rest is dfe_check's. */
static int whole(dfe_buffer table) {
    const dfe_program *p = table.at;
    int32_t of[3];
    dfe_layout(of);
    return words(table, of[0]) &&
           (p->abi != DFE_ABI || p->layers < 0 || p->convs < 0 ||
            words(table, of[0] + (int64_t)p->layers * of[1] + (int64_t)p->convs * of[2]));
}

static int64_t latent_values(const dfe_program *p, int32_t batch) {
    const dfe_conv *c = dfe_convs(p, dfe_layers(p) + p->cut);
    return (int64_t)batch * c->height * c->width * c->in_channels;
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

int dfe_run_sized(int call, int64_t batch, const dfe_buffers *given) {
    const dfe_program *p = given->program.at;
    if ((uintptr_t)p % DFE_ALIGN) return DFE_MISALIGNED;
    if (!whole(given->program)) return DFE_SMALL_TENSOR;
    if (batch < 1 || batch > INT32_MAX) return DFE_BAD_BATCH;
    int32_t samples = (int32_t)batch;
    int64_t needs = dfe_arena_bytes(p, call, samples);
    if (needs < 0) return (int)-needs;
    int trains = call == DFE_TRAIN || call == DFE_TRAIN_FROM;
    if (!holds(given->state, p->state_bytes) ||
        !holds(given->x, dfe_input_values(p, call, samples)) ||
        (trains && !words(given->y, samples)) || !results(p, call, samples, given))
        return DFE_SMALL_TENSOR;
    if ((trains && (uintptr_t)given->y.at % DFE_ALIGN) || (uintptr_t)given->first.at % DFE_ALIGN ||
        (trains && (uintptr_t)given->second.at % DFE_ALIGN))
        return DFE_MISALIGNED;
    void *state = given->state.at, *arena = given->arena.at;
    size_t size = given->arena.bytes < 0 ? 0 : (size_t)given->arena.bytes;
    if (call == DFE_INFER)
        return dfe_infer(p, state, samples, given->x.at, given->first.at, arena, size);
    if (call == DFE_FEATURES)
        return dfe_features(p, state, samples, given->x.at, given->first.at, given->second.at,
                            arena, size);
    return (call == DFE_TRAIN ? dfe_step : dfe_step_from)(
        p, state, samples, given->x.at, given->y.at, given->first.at, given->second.at, arena,
        size);
}
