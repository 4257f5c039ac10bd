#include "care.h"

#include "arithmetic.h"
#include "check.h"
#include "geometry.h"

/* As dfedge/device/care.py names and explains them. */
enum {
    FIRST = 4,
    LAST = 64,
    KNOWN_LOST = 50,
    STILL_LOST = 4,
    HELD_BACK = 8,
    MOST_HELD_BACK = 64,
    HALVINGS = 3,
    MOST_CAUTION = 16,
    SLOWER = 4,
};

/* New and replayed samples, by caution. */
static const int8_t shares[][2] = {{3, 1}, {1, 1}, {1, 1}, {1, 2}, {1, 2}, {1, 3}};
enum { SHARES = sizeof shares / sizeof *shares };

static ptrdiff_t values(const dfe_care *care) {
    return (ptrdiff_t)dfe_input_values(care->program, DFE_TRAIN, 1);
}

static int32_t best(const int32_t *scores, int32_t classes) {
    int32_t found = 0;
    for (int32_t k = 1; k < classes; k++)
        if (scores[k] > scores[found]) found = k;
    return found;
}

static int32_t count(const dfe_care *care, const void *state, const dfe_samples *samples) {
    int32_t found = 0;
    for (int32_t i = 0; i < samples->count; i++) {
        int status = dfe_infer(care->program, state, 1, samples->x + i * values(care), care->words,
                               care->arena, care->arena_bytes);
        found += status == DFE_OK && best(care->words, care->program->classes) == samples->y[i];
    }
    return found;
}

static int step(const dfe_care *care, const int8_t *x, int32_t y, int32_t *scores) {
    return dfe_step(care->program, care->state, 1, x, &y, scores,
                    care->words + care->program->classes, care->arena, care->arena_bytes);
}

/* The order of replay: i * stride mod count.  The stride shares no divisor with the count, so that
 * every pass takes every sample once; near the golden section, so that neighbours lie far apart. */
static int32_t stride_of(int32_t count) {
    int32_t stride = dfe_max((int32_t)((int64_t)count * 618 / 1000), 1);
    for (;; stride++) {
        int32_t a = count, b = stride;
        while (b) {
            int32_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a <= 1) return stride;
    }
}

/* What is due with the sample that follows so many. */
static void replay(const dfe_care *care, int64_t seen) {
    const dfe_samples *known = &care->replay;
    if (care->no_replay || care->replace || !known->count) return;
    const int8_t *share = shares[dfe_min(care->caution, SHARES - 1)];
    int64_t end = (seen + 1) * share[1] / share[0];
    for (int64_t i = seen * share[1] / share[0]; i < end; i++) {
        int32_t at = (int32_t)(i % known->count * care->stride % known->count);
        (void)step(care, known->x + at * values(care), known->y[at], care->words); /* was checked */
    }
}

/* Every eighth sample that was recognised as it came is judged by. */
static void remember(dfe_care *care, const int8_t *x, int32_t y) {
    if (++care->recognised % HELD_BACK || care->recent >= care->recent_most) return;
    __builtin_memcpy(care->recent_x + care->recent * values(care), x, (size_t)values(care));
    care->recent_y[care->recent++] = y;
}

static int passes(const dfe_care *care, const dfe_samples *recent) {
    if (count(care, care->state, &care->judge) < care->least_known) return 0;
    if (recent->count < STILL_LOST) return 1;
    return recent->count - count(care, care->state, recent) <= recent->count / STILL_LOST;
}

static void halve_rates(const dfe_care *care) {
    const dfe_program *p = care->program;
    int8_t *state = care->state;
    int32_t *weight = (int32_t *)(void *)(state + p->weight_shift);
    for (int32_t i = 0; i < p->convs; i++)
        weight[i] = dfe_clamp(weight[i] + 1, 0, DFE_MAX_UPDATE_SHIFT);
    if (p->form != DFE_ONE_PASS) return;
    int32_t *anchor = (int32_t *)(void *)(state + p->anchor_shift);
    for (int32_t i = 0; i < p->layers; i++)
        anchor[i] = dfe_clamp(anchor[i] + 1, 0, DFE_MAX_UPDATE_SHIFT);
}

/* A part of the way, if that is enough, else all of it. */
static void go_back(dfe_care *care, const dfe_samples *recent) {
    int32_t before = care->caution, halvings = 0, enough = 0;
    care->caution = dfe_min(before + 1, MOST_CAUTION);
    care->interval = FIRST;
    while (!enough && halvings++ < HALVINGS) {
        dfe_half_way(care->program, care->state, care->good);
        enough = passes(care, recent);
    }
    if (!enough)
        __builtin_memcpy(care->state, care->good, (size_t)care->program->state_bytes);
    care->partly += enough;
    care->wholly += !enough;
    if (care->caution / SLOWER > before / SLOWER) halve_rates(care);
}

static int keep(const dfe_care *care) {
    int32_t bytes = care->program->state_bytes;
    if (care->keep) return care->keep(care->good, care->state, bytes);
    __builtin_memcpy(care->good, care->state, (size_t)bytes);
    return DFE_OK;
}

static int judge(dfe_care *care) {
    if (care->no_guard || !care->steps) return DFE_OK;
    dfe_samples recent = {care->recent_x, care->recent_y, care->recent};
    care->steps = care->recognised = care->recent = 0;
    care->judgements++;
    if (passes(care, &recent))
        care->interval = dfe_min(2 * care->interval, LAST);
    else
        go_back(care, &recent);
    return keep(care);
}

/* None where a class was retired, for it cannot be kept; where one was added, which may take its part
 * of the others, it is the present state that counts. */
static int32_t least_known(const dfe_care *care) {
    const dfe_program *p = care->program;
    const int8_t *live = (const int8_t *)care->state + p->live;
    const void *from = care->first ? care->first : care->state;
    if (care->no_guard || care->replace) return 0;
    for (int32_t i = 0; i < care->judge.count; i++)
        if (!live[care->judge.y[i]]) return 0;
    for (int32_t k = 0; k < p->classes; k++)
        if (((const int8_t *)from)[p->live + k] != live[k]) from = care->state;
    return count(care, from, &care->judge) - care->judge.count / KNOWN_LOST;
}

static int check_samples(const dfe_care *care, const dfe_samples *samples) {
    dfe_memory memory;
    for (int32_t i = 0; i < samples->count; i++) {
        int status = dfe_check_call(care->program, care->state, DFE_TRAIN, 1,
                                    samples->x + i * values(care), samples->y + i, care->arena,
                                    care->arena_bytes, &memory);
        if (status != DFE_OK) return status;
    }
    return DFE_OK;
}

/* Whether both calls can be made as often as they will be. */
static int check(const dfe_care *care) {
    int status = dfe_check_state(care->program, care->state);
    if (status != DFE_OK) return status;
    if (!care->words || (!care->no_guard && !care->good)) return DFE_SMALL_TENSOR;
    if ((uintptr_t)care->good % DFE_ALIGN || (uintptr_t)care->arena % DFE_ALIGN ||
        (uintptr_t)care->first % DFE_ALIGN)
        return DFE_MISALIGNED;
    for (int call = DFE_INFER; call <= DFE_TRAIN; call++) {
        int64_t needs = dfe_arena_bytes(care->program, call, 1);
        if (needs < 0) return (int)-needs;
        if (care->arena_bytes < (uint64_t)needs) return DFE_SMALL_ARENA;
    }
    status = check_samples(care, &care->replay);
    return status == DFE_OK ? check_samples(care, &care->judge) : status;
}

int dfe_care_begin(dfe_care *care) {
    care->begun = 0;
    int status = check(care);
    if (status != DFE_OK) return status;
    care->recent_most = dfe_clamp(care->recent_most, 0, MOST_HELD_BACK);
    care->caution = dfe_clamp(care->caution, 0, MOST_CAUTION);
    if (!dfe_within(care->interval, FIRST, LAST)) care->interval = FIRST;
    care->judgements = care->partly = care->wholly = 0;
    care->steps = care->recognised = care->recent = 0;
    care->stride = stride_of(care->replay.count);
    care->least_known = least_known(care);
    status = care->no_guard ? DFE_OK : keep(care);
    care->begun = status == DFE_OK;
    return status;
}

int dfe_learn(dfe_care *care, const int8_t *x, int32_t y, int32_t *scores) {
    if (!care->begun) return DFE_BAD_CALL;
    int status = step(care, x, y, scores);
    if (status != DFE_OK) return status;
    int right = best(scores, care->program->classes) == y;
    replay(care, care->samples++);
    if (care->no_guard) return DFE_OK;
    if (right) remember(care, x, y);
    return ++care->steps >= care->interval ? judge(care) : DFE_OK;
}

int dfe_care_end(dfe_care *care) { return care->begun ? judge(care) : DFE_BAD_CALL; }

static void mean_of_bytes(int8_t *now, const int8_t *good, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) now[i] = (int8_t)((now[i] + good[i] + 1) >> 1);
}

void dfe_half_way(const dfe_program *program, void *state, const void *good) {
    int8_t *now = state;
    const int8_t *to = good;
    for (int32_t i = 0; i < program->layers; i++) {
        const dfe_layer *layer = dfe_layers(program) + i;
        for (int32_t j = 0; j < layer->convs; j++) {
            const dfe_conv *c = dfe_convs(program, layer) + j;
            int32_t *bias = (int32_t *)(void *)(now + c->bias);
            const int32_t *other = (const int32_t *)(const void *)(to + c->bias);
            mean_of_bytes(now + c->weight, to + c->weight, dfe_weights(c));
            for (int32_t o = 0; o < c->channels; o++)
                bias[o] = (bias[o] + other[o] + 1) >> 1; /* of at most 2^24 each */
        }
        if (program->form == DFE_ONE_PASS)
            mean_of_bytes(now + layer->anchors, to + layer->anchors,
                          (ptrdiff_t)program->classes * dfe_feature_count(program, layer));
    }
}
