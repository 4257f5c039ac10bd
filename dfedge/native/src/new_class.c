#include "new_class.h"

#include "check.h"
#include "place.h"

/* A layer whose anchors are all zero has no say. */
static int has_anchors(const dfe_new_class *given, const dfe_layer *layer) {
    const int8_t *a = dfe_anchors_of(given, layer);
    ptrdiff_t n = (ptrdiff_t)given->program->classes * dfe_feature_count(given->program, layer);
    for (ptrdiff_t i = 0; i < n; i++)
        if (a[i]) return 1;
    return 0;
}

int32_t dfe_seen(const dfe_program *program) {
    int32_t seen = 0;
    for (int32_t i = 0; i < program->layers; i++)
        seen += dfe_feature_count(program, dfe_layers(program) + i);
    return seen;
}

static int look(dfe_placing *p, const int8_t *x, int32_t y) {
    const dfe_new_class *g = p->given;
    p->samples[p->all] = (dfe_placed){.y = y};
    int8_t *seen = p->seen + (ptrdiff_t)p->all++ * p->width;
    return dfe_features(g->program, g->state, 1, x, seen, NULL, g->arena, g->arena_bytes);
}

static int look_at(dfe_placing *p, const dfe_samples *those) {
    ptrdiff_t values = (ptrdiff_t)dfe_input_values(p->given->program, DFE_TRAIN, 1);
    int status = DFE_OK;
    for (int32_t i = 0; i < those->count && status == DFE_OK; i++)
        if (dfe_lives(p->given, those->y[i])) status = look(p, those->x + i * values, those->y[i]);
    return status;
}

static int look_at_all(dfe_placing *p) {
    const dfe_new_class *g = p->given;
    ptrdiff_t values = (ptrdiff_t)dfe_input_values(g->program, DFE_TRAIN, 1);
    int status = DFE_OK;
    for (int32_t i = 0; i < g->count && status == DFE_OK; i++)
        status = look(p, g->x + i * values, g->row);
    if (status == DFE_OK) status = look_at(p, &g->known);
    p->count = p->all;
    return status == DFE_OK ? look_at(p, &g->judge) : status;
}

int64_t dfe_sum_of(const dfe_placing *p, int32_t j, int is_new) {
    int64_t sum = 0;
    for (int32_t i = 0; i < p->count; i++)
        if ((p->samples[i].y == p->given->row) == is_new)
            sum += p->seen[(ptrdiff_t)i * p->width + j];
    return sum;
}

/* The means: anchors of every layer that learns, or that has any.  Who has a say is known then. */
static void begin(dfe_placing *p) {
    const dfe_new_class *given = p->given;
    const dfe_program *program = given->program;
    for (int32_t l = 0, j = 0; l < program->layers; l++) {
        const dfe_layer *layer = dfe_layers(program) + l;
        int32_t first = j, end = j + dfe_feature_count(program, layer);
        int8_t *a = dfe_anchors_of(given, layer) + (ptrdiff_t)given->row * (end - j);
        if (l >= program->cut || has_anchors(given, layer))
            for (; j < end; j++)
                a[j - first] =
                    (int8_t)((2 * dfe_sum_of(p, j, 1) + given->count) / (2 * given->count));
        int says = layer->counted && has_anchors(given, layer);
        for (j = first; j < end; j++) p->says[j] = (int8_t)says;
    }
    ((int8_t *)given->state)[program->live + given->row] = 1;
}

static int check(const dfe_new_class *g) {
    int status = dfe_check(g->program);
    if (status != DFE_OK) return status;
    int32_t classes = g->program->classes;
    if (g->program->form != DFE_ONE_PASS) return DFE_BAD_CALL;
    if (g->row < 0 || g->row >= classes || dfe_lives(g, g->row)) return DFE_BAD_LABEL;
    if (g->own < 0 || g->own > g->row) return DFE_BAD_LABEL;
    if (g->count < 1 || g->count > (1 << DFE_SHARE)) return DFE_BAD_BATCH;
    if (g->known.count < 0 || g->judge.count < 0) return DFE_BAD_BATCH;
    for (int32_t i = 0; i < g->known.count; i++)
        if (g->known.y[i] < 0 || g->known.y[i] >= classes) return DFE_BAD_LABEL;
    for (int32_t i = 0; i < g->judge.count; i++)
        if (g->judge.y[i] < 0 || g->judge.y[i] >= g->own) return DFE_BAD_LABEL;
    if ((uintptr_t)g->room % 8) return DFE_MISALIGNED;
    size_t seen = (size_t)dfe_seen(g->program);
    size_t needs = DFE_NEW_CLASS_BYTES(g->count + g->known.count, g->judge.count, seen, classes);
    return g->room_bytes < needs ? DFE_SMALL_TENSOR : DFE_OK;
}

int dfe_add_class(const dfe_new_class *given) {
    int status = check(given);
    if (status != DFE_OK) return status;
    ptrdiff_t most = given->count + given->known.count, classes = given->program->classes;
    ptrdiff_t all = most + given->judge.count;
    dfe_placing p = {.given = given, .samples = given->room, .width = dfe_seen(given->program)};
    p.scores = (int64_t *)(p.samples + all);
    p.g = p.scores + classes;
    p.fine = (int16_t *)(p.g + most * classes);
    p.seen = (int8_t *)(p.fine + classes * p.width);
    p.says = p.seen + all * p.width;
    status = look_at_all(&p);
    if (status != DFE_OK) return status;
    begin(&p);
    if (p.count > given->count) dfe_place(&p);
    return DFE_OK;
}
