/* The one-pass step, in the order of dfedge/compile/step.py, and the entry points. */
#include "anchors.h"
#include "arithmetic.h"
#include "check.h"
#include "job.h"
#include "pace.h"
#include "plane.h"

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

/* The scores of a layer that does not learn. */
static void judge(const dfe_run *run, const dfe_layer *layer, const dfe_frame *frame,
                  int32_t *scores) {
    int8_t *p = (int8_t *)run->arena + run->memory.features;
    int32_t classes = run->program->classes;
    for (int32_t b = 0; layer->counted && b < run->memory.batch; b++) {
        see(run, layer, frame->h, b, p);
        dfe_judge(layer, classes, dfe_feature_count(run->program, layer), p,
                  dfe_bytes(run, layer->anchors), scores + (ptrdiff_t)b * classes);
    }
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

/* -- one call, stage by stage ---------------------------------------------------------------------- */

enum { PLANE, TRUNK, FORWARD, LOOK, DOWN, MOVE_BELOW, MOVE, HAND_ON, LAST };

static int trains(const dfe_run *run) {
    return run->memory.call == DFE_TRAIN || run->memory.call == DFE_TRAIN_FROM;
}

static void clear(int32_t *scores, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) scores[i] = 0;
}

/* The next layer receives x. */
static NOINLINE void enter(dfe_job *job, const int8_t *x) {
    const dfe_program *program = job->run.program;
    const dfe_layer *layer = dfe_layers(program) + job->layer;
    const dfe_conv *c = dfe_convs(program, layer);
    dfe_waiting now = {layer, x,
                       dfe_frame_of(program, &job->run.memory, job->run.arena, job->layer), {0}};
    ptrdiff_t values = (ptrdiff_t)job->run.memory.batch * c->height * c->width * c->in_channels;
    if (job->latent && job->layer == program->cut) __builtin_memcpy(job->latent, x, (size_t)values);
    job->now = now;
    job->at.conv = job->at.next = 0;
    job->stage = FORWARD;
}

static NOINLINE void move(dfe_job *job, const dfe_waiting *one, const dfe_error *error, int32_t stage) {
    job->part.moving = dfe_begin_moving(one->layer, error);
    job->stage = stage;
}

/* The layer's own error is there, and the one below has moved. */
static NOINLINE void settled(dfe_job *job) {
    if (!job->run.memory.waits) {
        move(job, &job->now, &job->now.own, MOVE);
        return;
    }
    job->below = job->now;
    job->stage = HAND_ON;
}

static NOINLINE void look(dfe_job *job) {
    const dfe_run *run = &job->run;
    int32_t i = job->layer, batch = run->memory.batch, learns = trains(run) && i >= run->program->cut;
    const dfe_layer *layer = job->now.layer;
    job->stage = HAND_ON;
    if (run->memory.call == DFE_FEATURES) {
        for (int32_t b = 0; b < batch; b++, job->seen += dfe_feature_count(run->program, layer))
            see(run, layer, job->now.frame.h, b, job->seen);
    } else if (!learns) {
        if (trains(run)) job->active[i] = 0;
        judge(run, layer, &job->now.frame, job->scores);
    } else {
        job->now.own = settle(run, i, &job->now.frame, job->y, job->scores, job->active + i);
        if (!job->below.layer) {
            settled(job);
            return;
        }
        move(job, &job->now, &job->now.own, DOWN);
    }
}

static NOINLINE int moved(dfe_job *job, const dfe_waiting *one) {
    return dfe_move(&job->run, one->layer, job->run.memory.batch, one->x, &one->frame,
                    &job->part.moving);
}

static NOINLINE void next_layer(dfe_job *job) {
    hand_on(&job->run, job->now.layer, &job->now.frame);
    if (++job->layer < job->run.program->layers) enter(job, job->now.frame.handed);
    else if (job->below.layer) move(job, &job->below, &job->below.own, MOVE_BELOW);
    else job->stage = LAST;
}

static NOINLINE void last(const dfe_run *run, const int32_t *y, int32_t *scores) {
    const dfe_program *program = run->program;
    if (run->memory.call == DFE_FEATURES) return;
    mask(run, scores);
    if (!trains(run)) return;
    int32_t *error = dfe_words(run, program->error);
    *error = dfe_error_after(*error, run->memory.batch, program->classes, scores, y);
    *dfe_words(run, program->phase) = (int32_t)((run->phase + DFE_GOLDEN) & DFE_DITHER_MASK);
}

static void plane(const dfe_run *run, const int8_t *x, const int32_t *y, int32_t *scores,
                  int32_t *active) {
    if (trains(run)) dfe_plane_learn(run, x, y, scores, active);
    else dfe_plane_infer(run, x, scores);
    last(run, y, scores);
}

/* One stage, or a part of it; 1: it was the last. */
static NOINLINE int go(dfe_job *job) {
    const dfe_run *run = &job->run;
    const dfe_memory *m = &run->memory;
    int8_t *low = (int8_t *)run->arena;
    switch (job->stage) {
    case TRUNK: /* what the first layer receives of images */
        if (dfe_trunk_some(run->program, m->batch, job->x, low + m->workspace, low, &job->part.trunk,
                           run->sliced, DFE_KEPT(run)))
            enter(job, low);
        return 0;
    case FORWARD:
        if (dfe_forward(run, job->now.layer, m->batch, job->now.x, &job->now.frame, &job->at))
            job->stage = LOOK;
        return 0;
    case LOOK:
        look(job);
        return 0;
    case DOWN:
        if (dfe_down(run, job->now.layer, m->batch, &job->now.frame, job->below.layer,
                     &job->below.own, low + m->error_map, &job->part.moving))
            move(job, &job->below, &job->below.own, MOVE_BELOW);
        return 0;
    case MOVE_BELOW:
        if (!moved(job, &job->below)) return 0;
        if (job->layer < run->program->layers) settled(job);
        else job->stage = LAST;
        return 0;
    case MOVE:
        if (moved(job, &job->now)) job->stage = HAND_ON;
        return 0;
    case HAND_ON:
        next_layer(job);
        return 0;
    default:
        last(run, job->y, job->scores);
        return 1;
    }
}

/* Check a call and lay out its memory: what is refused is refused before anything is written. */
static NOINLINE int begun(dfe_run *run, int call, const dfe_program *program, void *state,
                          int32_t batch, const int8_t *x, const int32_t *y, void *arena,
                          size_t arena_bytes) {
    run->program = program;
    run->state = state;
    run->arena = arena;
    run->sliced = 0;
    DFE_KEEP(run, NULL);
    int status = dfe_check_call(program, state, call, batch, x, y, arena, arena_bytes,
                                &run->memory);
    if (status != DFE_OK) return status;
    run->phase = (uint32_t)*dfe_words(run, program->phase);
    run->slowing = dfe_slowing(
        *dfe_words(run, program->error) - *dfe_words(run, program->usual_error),
        *dfe_words(run, program->pace));
    return DFE_OK;
}

/* Begin a call of a checked table. */
static int begun_known(dfe_job *job, int call, const dfe_program *program, void *state,
                       int32_t batch, const int8_t *x, const int32_t *y, void *first, void *second,
                       void *arena, size_t arena_bytes) {
    int learns = call == DFE_TRAIN || call == DFE_TRAIN_FROM, sees = call == DFE_FEATURES;
    int status = begun(&job->run, call, program, state, batch, x, learns ? y : NULL, arena,
                       arena_bytes);
    if (status != DFE_OK) return status;
    job->x = x;
    job->y = y;
    job->scores = sees ? NULL : first;
    job->active = learns ? second : NULL;
    job->seen = sees ? first : NULL;
    job->latent = sees ? second : NULL;
    job->below.layer = NULL;
    job->layer = call == DFE_TRAIN_FROM ? program->cut : 0;
    __builtin_memset(&job->part.trunk, 0, sizeof job->part.trunk);
    job->stage = program->form == DFE_LABEL_PLANE ? PLANE : TRUNK;
    if (job->scores) clear(job->scores, (ptrdiff_t)batch * program->classes);
    for (int32_t i = 0; i < job->layer; i++) job->active[i] = 0;
    if (job->stage == TRUNK && (!program->operations || call == DFE_TRAIN_FROM)) enter(job, x);
    return DFE_OK;
}

int dfe_begin(dfe_job *job, int call, const dfe_program *program, void *state, int32_t batch,
              const int8_t *x, const int32_t *y, void *first, void *second, void *arena,
              size_t arena_bytes) {
    int status = dfe_check(program);
    if (status == DFE_OK)
        status = begun_known(job, call, program, state, batch, x, y, first, second, arena,
                             arena_bytes);
    job->run.sliced = 1;
    return status;
}

int dfe_go(dfe_job *job) {
    if (job->stage != PLANE) return go(job) ? DFE_OK : DFE_MORE;
    plane(&job->run, job->x, job->y, job->scores, job->active);
    return DFE_OK;
}

/* The label-plane form needs less than a job has. */
static NOINLINE int whole_plane(int call, const dfe_program *program, void *state, int32_t batch,
                                const int8_t *x, const int32_t *y, void *first, void *second,
                                void *arena, size_t arena_bytes) {
    dfe_run run;
    int status = begun(&run, call, program, state, batch, x, call == DFE_TRAIN ? y : NULL, arena,
                       arena_bytes);
    if (status == DFE_OK) plane(&run, x, y, first, second);
    return status;
}

static NOINLINE int whole_job(int call, const dfe_program *program, void *state, int32_t batch,
                              const int8_t *x, const int32_t *y, void *first, void *second,
                              void *arena, size_t arena_bytes, const void *kept) {
    dfe_job job;
    int status = begun_known(&job, call, program, state, batch, x, y, first, second, arena,
                             arena_bytes);
    DFE_KEEP(&job.run, kept);
    while (status == DFE_OK && !go(&job)) continue;
    return status;
}

int dfe_run_checked(int call, const dfe_program *program, void *state, int32_t batch,
                    const int8_t *x, const int32_t *y, void *first, void *second, void *arena,
                    size_t arena_bytes, const void *kept) {
    if (program->form == DFE_LABEL_PLANE)
        return whole_plane(call, program, state, batch, x, y, first, second, arena, arena_bytes);
    return whole_job(call, program, state, batch, x, y, first, second, arena, arena_bytes, kept);
}

static int whole(int call, const dfe_program *program, void *state, int32_t batch, const int8_t *x,
                 const int32_t *y, void *first, void *second, void *arena, size_t arena_bytes) {
    int status = dfe_check(program);
    return status == DFE_OK ? dfe_run_checked(call, program, state, batch, x, y, first, second,
                                              arena, arena_bytes, NULL)
                            : status;
}

int dfe_step(const dfe_program *program, void *state, int32_t batch, const int8_t *x,
             const int32_t *y, int32_t *scores, int32_t *active, void *arena, size_t arena_bytes) {
    return whole(DFE_TRAIN, program, state, batch, x, y, scores, active, arena, arena_bytes);
}

int dfe_step_from(const dfe_program *program, void *state, int32_t batch, const int8_t *z,
                  const int32_t *y, int32_t *scores, int32_t *active, void *arena,
                  size_t arena_bytes) {
    return whole(DFE_TRAIN_FROM, program, state, batch, z, y, scores, active, arena, arena_bytes);
}

int dfe_infer(const dfe_program *program, const void *state, int32_t batch, const int8_t *x,
              int32_t *scores, void *arena, size_t arena_bytes) {
    void *read = (void *)(uintptr_t)state; /* and not written */
    return whole(DFE_INFER, program, read, batch, x, NULL, scores, NULL, arena, arena_bytes);
}

int dfe_features(const dfe_program *program, const void *state, int32_t batch, const int8_t *x,
                 int8_t *seen, int8_t *latent, void *arena, size_t arena_bytes) {
    void *read = (void *)(uintptr_t)state; /* and not written */
    return whole(DFE_FEATURES, program, read, batch, x, NULL, seen, latent, arena, arena_bytes);
}

void dfe_layout(int32_t words[4]) {
    words[0] = sizeof(dfe_program) / sizeof(int32_t);
    words[1] = sizeof(dfe_layer) / sizeof(int32_t);
    words[2] = sizeof(dfe_conv) / sizeof(int32_t);
    words[3] = sizeof(dfe_operation) / sizeof(int32_t);
}
