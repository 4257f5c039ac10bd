#include "care.h"

#include "arithmetic.h"
#include "check.h"
#include "geometry.h"

/* As dfedge/device/care.py names and explains them. */
enum {
    SHORTEST = 512,
    DOUBLINGS = 2,
    HALVINGS = 3,
    KNOWN_LOST = 100,
    REPLAYED_LOST = 25,
    NEW_LOST = 32,
    SURELY_LOST = 3,
    WATCHED = 64,
    WATCHED_LOST = 4,
    HELD_BACK = 8,
    MOST_HELD_BACK = 64,
    MOST_CAUTION = 3,
};
static const int8_t ways[][2] = {{3, 4}, {2, 3}, {1, 2}, {1, 2}};
enum { WAYS = sizeof ways / sizeof *ways };

static ptrdiff_t values(const dfe_care *care) {
    return (ptrdiff_t)dfe_input_values(care->program, DFE_TRAIN, 1);
}

static int32_t best(const int32_t *scores, int32_t classes) {
    int32_t found = 0;
    for (int32_t k = 1; k < classes; k++)
        if (scores[k] > scores[found]) found = k;
    return found;
}

static int recognises(const dfe_care *care, const void *state, const dfe_samples *samples,
                      int32_t i) {
    int status = dfe_infer(care->program, state, 1, samples->x + i * values(care), care->words,
                           care->arena, care->arena_bytes);
    return status == DFE_OK && best(care->words, care->program->classes) == samples->y[i];
}

static int32_t count(const dfe_care *care, const void *state, const dfe_samples *samples) {
    int32_t found = 0;
    for (int32_t i = 0; i < samples->count; i++) found += recognises(care, state, samples, i);
    return found;
}

/* Which of `judge` the first state recognises, a bit each. */
static uint32_t *seen_first(const dfe_care *care) {
    return (uint32_t *)care->words + care->program->classes + care->program->layers;
}

/* lost - won + sqrt(lost + won) <= 3 in 100 */
int dfe_surely_kept(int32_t count, int32_t lost, int32_t won) {
    int64_t left = (int64_t)SURELY_LOST * count - 100 * ((int64_t)lost - won);
    return left >= 0 && left * left >= 10000 * ((int64_t)lost + won);
}

/* How many of `judge` the state recognises, and whether it surely keeps what the first one did. */
static int32_t count_judge(const dfe_care *care, int *kept) {
    int32_t found = 0, lost = 0, won = 0;
    for (int32_t i = 0; i < care->judge.count; i++) {
        int now = recognises(care, care->state, &care->judge, i);
        int first = (int)(seen_first(care)[i / 32] >> i % 32 & 1);
        found += now;
        lost += first && !now;
        won += now && !first;
    }
    *kept = dfe_surely_kept(care->judge.count, lost, won);
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

/* One for each new sample, of which there were `seen` before. */
static int32_t replay(dfe_care *care, int64_t seen) {
    const dfe_samples *known = &care->replay;
    if (care->no_replay || care->replace || !known->count) return 0;
    int32_t at = (int32_t)(seen % known->count * care->stride % known->count);
    (void)step(care, known->x + at * values(care), known->y[at], care->words); /* was checked */
    care->watched++;
    care->right += best(care->words, care->program->classes) == known->y[at];
    return 1;
}

/* Every eighth new sample of a period is judged by. */
static void remember(dfe_care *care, const int8_t *x, int32_t y) {
    if (++care->taught % HELD_BACK || care->recent >= care->recent_most) return;
    __builtin_memcpy(care->recent_x + care->recent * values(care), x, (size_t)values(care));
    care->recent_y[care->recent++] = y;
}

static int32_t may_be_lost(const dfe_samples *known, int32_t of) {
    return dfe_max(known->count / of, 1);
}

/* Whether the state may become the good one.  good: of the recent, those that this recognises; where
 * there are no more now, nothing that was known may be lost for them. */
static int passes(dfe_care *care, const dfe_samples *recent, int32_t good) {
    int32_t found = count(care, care->state, recent);
    if (found < good - recent->count / NEW_LOST) return 0;
    int32_t least = care->known_first - may_be_lost(&care->judge, KNOWN_LOST);
    if (found <= good) least = dfe_max(least, dfe_min(care->known_first, care->known));
    int kept;
    int32_t known = count_judge(care, &kept);
    if (known < least || (care->known_first && !kept)) return 0;
    if (care->replayed_first && count(care, care->state, &care->replay) <
                                  care->replayed_first - may_be_lost(&care->replay, REPLAYED_LOST))
        return 0;
    care->known = known;
    return 1;
}

static void slow(int8_t *shifts, const int8_t *from, int32_t n, int32_t halvings) {
    for (int32_t i = 0; i < n; i++)
        shifts[i] = from[i] == DFE_MAX_UPDATE_SHIFT
                        ? from[i]
                        : (int8_t)dfe_clamp(from[i] + halvings, 0, DFE_MAX_UPDATE_SHIFT - 1);
}

static int32_t *int32_at(const void *state, int32_t offset) {
    return (int32_t *)(uintptr_t)((const int8_t *)state + offset);
}

/* Rates, halved so many times; what is frozen stays so.  NULL: the state's own. */
static void set_rates(const dfe_care *care, const int8_t *weight, const int8_t *anchor,
                      int32_t halvings) {
    const dfe_program *p = care->program;
    int8_t *state = care->state;
    if (weight) slow(state + p->weight_shift, weight, p->convs, halvings);
    if (anchor && p->form == DFE_ONE_PASS)
        slow(state + p->anchor_shift, anchor, p->layers, halvings);
}

/* The rates of a state. */
static void set_rates_of(const dfe_care *care, const void *of, int32_t halvings) {
    const dfe_program *p = care->program;
    const int8_t *state = of;
    set_rates(care, state + p->weight_shift, state + p->anchor_shift, halvings);
}

static int64_t root(int64_t square) {
    int64_t found = 0;
    for (int64_t bit = (int64_t)1 << 30; bit; bit >>= 1)
        if ((found + bit) * (found + bit) <= square) found += bit;
    return found;
}

/* (wrong + sqrt(max(right wrong / count, 1/4))) / count in units of 2^-16, rounded down. */
int32_t dfe_usual_error(int32_t right, int32_t count) {
    int64_t wrong = count - right, spread = (right * wrong << 20) / count;
    return (int32_t)((((wrong << 10) + root(spread > 1 << 18 ? spread : 1 << 18)) << 6) / count);
}

/* The pace rests where the state misjudges as much as it does of what was known. */
static void follow(const dfe_care *care) {
    int32_t *usual = int32_at(care->state, care->program->usual_error);
    if (care->replace)
        *usual = 0;
    else if (care->judge.count)
        *usual = dfe_min(dfe_usual_error(care->known, care->judge.count), care->usual);
}

static void slow_down(dfe_care *care, int32_t halvings) {
    if (halvings != care->halvings) set_rates_of(care, care->good, halvings);
    care->halvings = halvings;
}

static void be_careful(dfe_care *care, int32_t caution) {
    set_rates_of(care, care->state, caution - care->caution);
    care->caution = caution;
}

/* A part of the way, if that is enough, else all of it. */
static void go_back(dfe_care *care, const dfe_samples *recent, int32_t good) {
    for (int32_t i = 0; i < WAYS; i++) {
        dfe_part_way(care->program, care->state, care->good, ways[i][0], ways[i][1]);
        if (passes(care, recent, good)) {
            care->partly++;
            return;
        }
    }
    care->wholly++;
    __builtin_memcpy(care->state, care->good, (size_t)care->program->state_bytes);
    be_careful(care, dfe_min(care->caution + 1, MOST_CAUTION));
}

static int keep(const dfe_care *care) {
    int32_t bytes = care->program->state_bytes;
    if (care->keep) return care->keep(care->good, care->state, bytes);
    __builtin_memcpy(care->good, care->state, (size_t)bytes);
    return DFE_OK;
}

static int judge(dfe_care *care) {
    if (care->no_guard || !care->presented) return DFE_OK;
    dfe_samples recent = {care->recent_x, care->recent_y, care->recent};
    int whole = care->presented >= care->length;
    int32_t good = count(care, care->good, &recent);
    care->presented = care->taught = care->recent = care->watched = care->right = 0;
    care->judgements++;
    slow_down(care, 0);
    if (!passes(care, &recent, good)) {
        go_back(care, &recent, good);
    } else if (whole) {
        care->doublings = dfe_min(care->doublings + 1, DOUBLINGS);
        be_careful(care, dfe_max(care->caution - 1, 0));
    }
    follow(care);
    care->length = SHORTEST << care->doublings;
    return keep(care);
}

/* Whether a part of what was known is lost that replay is not to be hoped to bring back. */
static int fails(dfe_care *care) {
    int64_t watched = care->watched, right = care->right, known = care->replay.count;
    if (watched < WATCHED) return 0;
    care->watched = care->right = 0;
    return WATCHED_LOST * right * known < watched * (WATCHED_LOST * care->replayed_first - known);
}

/* Judge where the period is over, or cannot go on; else set the rates of the next step. */
static int after_step(dfe_care *care) {
    int32_t left = care->length - care->presented, halvings = 0;
    if (fails(care) || left <= 0) return judge(care);
    while (halvings < HALVINGS && left << (halvings + 1) <= care->length) halvings++;
    slow_down(care, halvings);
    return DFE_OK;
}

/* Whether a class of these was retired. */
static int retired(const int8_t *live, const dfe_samples *samples) {
    for (int32_t i = 0; i < samples->count; i++)
        if (!live[samples->y[i]]) return 1;
    return 0;
}

/* What is recognised of the known: nothing where a class was retired, for it
 * cannot be kept; where one was added, which may take its part of the others, the present state
 * counts. */
static void count_known(dfe_care *care) {
    const dfe_program *p = care->program;
    const int8_t *live = (const int8_t *)care->state + p->live;
    const void *from = care->first ? care->first : care->state;
    care->known_first = care->replayed_first = 0;
    if (care->no_guard || care->replace || retired(live, &care->judge) ||
        retired(live, &care->replay))
        return;
    for (int32_t k = 0; k < p->classes; k++)
        if (((const int8_t *)from)[p->live + k] != live[k]) from = care->state;
    for (int32_t i = 0; i < (care->judge.count + 31) / 32; i++) seen_first(care)[i] = 0;
    for (int32_t i = 0; i < care->judge.count; i++)
        if (recognises(care, from, &care->judge, i)) {
            seen_first(care)[i / 32] |= UINT32_C(1) << i % 32;
            care->known_first++;
        }
    care->replayed_first = care->no_replay ? 0 : count(care, from, &care->replay);
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
    care->doublings = dfe_clamp(care->doublings, 0, DOUBLINGS);
    care->judgements = care->partly = care->wholly = 0;
    care->presented = care->halvings = care->taught = care->recent = 0;
    care->length = SHORTEST << care->doublings;
    care->stride = stride_of(care->replay.count);
    care->watched = care->right = 0;
    count_known(care);
    if (!care->no_guard) {
        care->usual = *int32_at(care->first ? care->first : care->state,
                                care->program->usual_error);
        care->known = count(care, care->state, &care->judge);
        set_rates(care, care->weight_shift, care->anchor_shift, care->caution);
        follow(care);
        status = keep(care);
    }
    care->begun = status == DFE_OK;
    return status;
}

int dfe_learn(dfe_care *care, const int8_t *x, int32_t y, int32_t *scores) {
    if (!care->begun) return DFE_BAD_CALL;
    int status = step(care, x, y, scores);
    if (status != DFE_OK) return status;
    care->presented += 1 + replay(care, care->samples++);
    if (care->no_guard) return DFE_OK;
    remember(care, x, y);
    return after_step(care);
}

int dfe_care_end(dfe_care *care) { return care->begun ? judge(care) : DFE_BAD_CALL; }
