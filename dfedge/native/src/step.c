/* The one-pass step, in the order of dfedge/compile/step.py, and the entry points. */
#include "anchors.h"
#include "arithmetic.h"
#include "check.h"
#include "pace.h"
#include "plane.h"
#include "trunk.h"
#include "unit.h"

/* Their frames do not add up: each call has its own alone. */
#define NOINLINE __attribute__((noinline))

static void mask(const dfe_run *run, int32_t *scores) {
    const int8_t *live = dfe_bytes(run, run->program->live);
    for (int32_t b = 0; b < run->memory.batch; b++)
        for (int32_t k = 0; k < run->program->classes; k++, scores++)
            if (!live[k]) *scores = DFE_DEAD;
}

static void see(const dfe_run *run, const dfe_layer *layer, const int8_t *h, int32_t b, int8_t *p) {
    dfe_shape s = dfe_output(run->program, layer);
    dfe_pool_cells(h + (ptrdiff_t)b * s.height * s.width * s.channels, s, layer->cells, layer->gain,
                   p);
}

/* The pooled features, seen again because learning has overwritten them; within h, in the direction
 * that reads before it writes.  A layer that waits has a place of its own for them, and its error
 * lies where they were first seen. */
static void hand_on_means(const dfe_run *run, const dfe_layer *layer, const dfe_frame *frame) {
    int32_t batch = run->memory.batch, d = dfe_feature_count(run->program, layer);
    int8_t *p = (int8_t *)run->arena + run->memory.features;
    int forward = frame->handed == frame->h;
    for (int32_t i = 0; i < batch; i++) {
        int32_t b = forward ? i : batch - 1 - i;
        int8_t *handed = frame->handed + (ptrdiff_t)b * d;
        see(run, layer, frame->h, b, run->memory.waits ? handed : p);
        if (!run->memory.waits) __builtin_memcpy(handed, p, (size_t)d);
    }
}

static void hand_on(const dfe_run *run, const dfe_layer *layer, const dfe_frame *frame) {
    if (layer->mean) hand_on_means(run, layer, frame);
    if (layer->pool)
        dfe_max_pool(frame->h, run->memory.batch, dfe_output(run->program, layer), frame->handed);
}

/* What the first layer receives of images. */
static const int8_t *behind_trunk(const dfe_run *run, const int8_t *x) {
    if (!run->program->operations) return x;
    int8_t *low = (int8_t *)run->arena;
    dfe_trunk(run->program, run->memory.batch, x, low + run->memory.workspace, low);
    return low;
}

/* A layer that does not learn: forward, its scores added, its output handed on. */
static const int8_t *pass(const dfe_run *run, int32_t i, const int8_t *x, int32_t *scores) {
    const dfe_layer *layer = dfe_layers(run->program) + i;
    dfe_frame frame = dfe_frame_of(run->program, &run->memory, run->arena, i);
    int8_t *p = (int8_t *)run->arena + run->memory.features;
    int32_t classes = run->program->classes;
    dfe_forward(run, layer, run->memory.batch, x, &frame);
    for (int32_t b = 0; layer->counted && b < run->memory.batch; b++) {
        see(run, layer, frame.h, b, p);
        dfe_judge(layer, classes, dfe_feature_count(run->program, layer), p,
                  dfe_bytes(run, layer->anchors), scores + (ptrdiff_t)b * classes);
    }
    hand_on(run, layer, &frame);
    return frame.handed;
}

/* Judge, settle the anchors: the layer's own error, and how many samples it moves. */
static dfe_error settle(const dfe_run *run, int32_t i, const dfe_frame *frame, const int32_t *y,
                        int32_t *scores, int32_t *active) {
    const dfe_program *program = run->program;
    const dfe_memory *m = &run->memory;
    const dfe_layer *layer = dfe_layers(program) + i;
    int32_t d = dfe_feature_count(program, layer), turn = m->waits ? i % 2 : 0;
    int8_t *p = (int8_t *)run->arena + m->features + turn * m->feature_bytes;
    int8_t *acts = (int8_t *)run->arena + m->acts + turn * ((m->verdicts - m->acts) / 2);
    dfe_verdict *verdict = (dfe_verdict *)(void *)(run->arena + m->verdicts);
    dfe_shape s = dfe_output(program, layer);
    *active = 0;
    for (int32_t b = 0; b < m->batch; b++) {
        int8_t *one = p + (ptrdiff_t)b * d;
        see(run, layer, frame->h, b, one);
        verdict[b] = dfe_contrast(layer, program->classes, d, one, dfe_bytes(run, layer->anchors),
                                  y[b], dfe_bytes(run, program->live),
                                  scores + (ptrdiff_t)b * program->classes);
        acts[b] = verdict[b].level > 0;
        *active += acts[b];
    }
    dfe_settle(layer, m->batch, d, y, verdict, p, dfe_bytes(run, layer->anchors),
               dfe_rate(run, program->anchor_shift, i), run->phase,
               (int8_t *)run->arena + m->scratch);
    dfe_error own = {DFE_CELLS, p, frame->h, acts, s.height, s.width, s.channels, layer->cells};
    return own;
}

/* A layer that waits for the error from above. */
typedef struct {
    const dfe_layer *layer; /* NULL: none */
    const int8_t *x;
    dfe_frame frame;
    dfe_error own;
} waiting;

static void move(const dfe_run *run, const waiting *w, const dfe_error *error) {
    dfe_move(run, w->layer, run->memory.batch, w->x, &w->frame, error);
}

NOINLINE static void learn(const dfe_run *run, const int8_t *x, const int32_t *y, int32_t *scores,
                  int32_t *active) {
    const dfe_program *program = run->program;
    int32_t batch = run->memory.batch;
    waiting below = {0};
    for (int32_t i = program->cut; i < program->layers; i++) {
        waiting now = {dfe_layers(program) + i, x,
                       dfe_frame_of(program, &run->memory, run->arena, i), {0}};
        dfe_forward(run, now.layer, batch, x, &now.frame);
        now.own = settle(run, i, &now.frame, y, scores, active + i);
        if (below.layer) {
            dfe_error whole = below.own;
            int8_t *map = (int8_t *)run->arena + run->memory.error_map;
            dfe_down(run, now.layer, batch, &now.frame, &now.own, below.layer, &whole, map);
            move(run, &below, &whole);
        }
        if (run->memory.waits)
            below = now;
        else
            move(run, &now, &now.own);
        hand_on(run, now.layer, &now.frame);
        x = now.frame.handed;
    }
    if (below.layer) move(run, &below, &below.own);
}

static void clear(int32_t *scores, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) scores[i] = 0;
}

/* Training from images or from latents: only the frozen layers make the difference. */
NOINLINE static void train(dfe_run *run, int call, const int8_t *x, const int32_t *y, int32_t *scores,
                  int32_t *active) {
    const dfe_program *program = run->program;
    int32_t batch = run->memory.batch;
    if (program->form == DFE_LABEL_PLANE) {
        dfe_plane_learn(run, x, y, scores, active);
    } else {
        clear(scores, (ptrdiff_t)batch * program->classes);
        if (call == DFE_TRAIN) x = behind_trunk(run, x);
        for (int32_t i = 0; i < program->cut; i++) {
            active[i] = 0;
            if (call == DFE_TRAIN) x = pass(run, i, x, scores);
        }
        learn(run, x, y, scores, active);
    }
    mask(run, scores);
    int32_t *error = dfe_words(run, program->error);
    *error = dfe_error_after(*error, batch, program->classes, scores, y);
    *dfe_words(run, program->phase) = (int32_t)((run->phase + DFE_GOLDEN) & DFE_DITHER_MASK);
}

NOINLINE static void infer(const dfe_run *run, const int8_t *x, int32_t *scores) {
    const dfe_program *program = run->program;
    clear(scores, (ptrdiff_t)run->memory.batch * program->classes);
    if (program->form == DFE_LABEL_PLANE) {
        dfe_plane_infer(run, x, scores);
    } else {
        x = behind_trunk(run, x);
        for (int32_t i = 0; i < program->layers; i++) x = pass(run, i, x, scores);
    }
    mask(run, scores);
}

NOINLINE static void features(const dfe_run *run, const int8_t *x, int8_t *seen, int8_t *latent) {
    const dfe_program *program = run->program;
    int32_t batch = run->memory.batch;
    x = behind_trunk(run, x);
    for (int32_t i = 0; i < program->layers; i++) {
        const dfe_layer *layer = dfe_layers(program) + i;
        const dfe_conv *c = dfe_convs(program, layer);
        dfe_frame frame = dfe_frame_of(program, &run->memory, run->arena, i);
        ptrdiff_t values = (ptrdiff_t)batch * c->height * c->width * c->in_channels;
        if (latent && i == program->cut) __builtin_memcpy(latent, x, (size_t)values);
        dfe_forward(run, layer, batch, x, &frame);
        for (int32_t b = 0; b < batch; b++, seen += dfe_feature_count(program, layer))
            see(run, layer, frame.h, b, seen);
        hand_on(run, layer, &frame);
        x = frame.handed;
    }
}

/* Check a call and lay out its memory: what is refused is refused before anything is written. */
static NOINLINE int begun(dfe_run *run, int call, const dfe_program *program, void *state,
                          int32_t batch, const int8_t *x, const int32_t *y, void *arena,
                          size_t arena_bytes) {
    run->program = program;
    run->state = state;
    run->arena = arena;
    int status = dfe_check_call(program, state, call, batch, x, y, arena, arena_bytes,
                                &run->memory);
    if (status != DFE_OK) return status;
    run->phase = (uint32_t)*dfe_words(run, program->phase);
    run->slowing = dfe_slowing(
        *dfe_words(run, program->error) - *dfe_words(run, program->usual_error),
        *dfe_words(run, program->pace));
    return DFE_OK;
}

int dfe_run_checked(int call, const dfe_program *program, void *state, int32_t batch,
                    const int8_t *x, const int32_t *y, void *first, void *second, void *arena,
                    size_t arena_bytes) {
    dfe_run run;
    int trains = call == DFE_TRAIN || call == DFE_TRAIN_FROM;
    int status = begun(&run, call, program, state, batch, x, trains ? y : NULL, arena, arena_bytes);
    if (status != DFE_OK) return status;
    if (trains) train(&run, call, x, y, first, second);
    else if (call == DFE_INFER) infer(&run, x, first);
    else features(&run, x, first, second);
    return DFE_OK;
}

static int stepped(int call, const dfe_program *program, void *state, int32_t batch,
                   const int8_t *x, const int32_t *y, int32_t *scores, int32_t *active, void *arena,
                   size_t arena_bytes) {
    dfe_run run;
    int status = dfe_check(program);
    if (status == DFE_OK)
        status = begun(&run, call, program, state, batch, x, y, arena, arena_bytes);
    if (status == DFE_OK) train(&run, call, x, y, scores, active);
    return status;
}

int dfe_step(const dfe_program *program, void *state, int32_t batch, const int8_t *x,
             const int32_t *y, int32_t *scores, int32_t *active, void *arena, size_t arena_bytes) {
    return stepped(DFE_TRAIN, program, state, batch, x, y, scores, active, arena, arena_bytes);
}

int dfe_step_from(const dfe_program *program, void *state, int32_t batch, const int8_t *z,
                  const int32_t *y, int32_t *scores, int32_t *active, void *arena,
                  size_t arena_bytes) {
    return stepped(DFE_TRAIN_FROM, program, state, batch, z, y, scores, active, arena, arena_bytes);
}

int dfe_infer(const dfe_program *program, const void *state, int32_t batch, const int8_t *x,
              int32_t *scores, void *arena, size_t arena_bytes) {
    void *read = (void *)(uintptr_t)state; /* and not written */
    dfe_run run;
    int status = dfe_check(program);
    if (status == DFE_OK)
        status = begun(&run, DFE_INFER, program, read, batch, x, NULL, arena, arena_bytes);
    if (status == DFE_OK) infer(&run, x, scores);
    return status;
}

int dfe_features(const dfe_program *program, const void *state, int32_t batch, const int8_t *x,
                 int8_t *seen, int8_t *latent, void *arena, size_t arena_bytes) {
    void *read = (void *)(uintptr_t)state; /* and not written */
    dfe_run run;
    int status = dfe_check(program);
    if (status == DFE_OK)
        status = begun(&run, DFE_FEATURES, program, read, batch, x, NULL, arena, arena_bytes);
    if (status == DFE_OK) features(&run, x, seen, latent);
    return status;
}

void dfe_layout(int32_t words[4]) {
    words[0] = sizeof(dfe_program) / sizeof(int32_t);
    words[1] = sizeof(dfe_layer) / sizeof(int32_t);
    words[2] = sizeof(dfe_conv) / sizeof(int32_t);
    words[3] = sizeof(dfe_operation) / sizeof(int32_t);
}
