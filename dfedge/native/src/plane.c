#include "plane.h"

#include "arithmetic.h"

enum { ENERGY_UNIT = 256, ENERGY_SHIFT = 10, NO_LABEL = -1 };

/* What is known of each copy of each sample: int32 [copies B] each. */
typedef struct {
    int32_t *label, *energy, *total;
} copies;

static copies copies_of(const dfe_run *run) {
    int32_t *base = (int32_t *)(void *)(run->arena + run->memory.verdicts);
    ptrdiff_t n = (ptrdiff_t)run->memory.batch * run->memory.copies;
    copies c = {base, base + n, base + 2 * n};
    return c;
}

/* The live wrong label of rank (u m) >> 16 among the m there are. */
static int32_t drawn(const dfe_run *run, int32_t y, uint32_t place) {
    const int8_t *live = dfe_bytes(run, run->program->live);
    uint32_t many = 0;
    for (int32_t k = 0; k < run->program->classes; k++) many += live[k] && k != y;
    uint32_t rank = ((place & DFE_DITHER_MASK) * many) >> 16;
    for (int32_t k = 0; k < run->program->classes; k++)
        if (live[k] && k != y && rank-- == 0) return k;
    return NO_LABEL;
}

/* Each image beside its label's plane: int8 [copies B, H, W, C + 2] at the arena's low end. */
static const int8_t *join(const dfe_run *run, const int8_t *x, const int32_t *label) {
    const dfe_conv *first = dfe_convs(run->program, dfe_layers(run->program));
    int32_t positions = first->height * first->width, colours = first->in_channels - 2;
    int32_t samples = run->memory.batch * run->memory.copies;
    int8_t *out = (int8_t *)run->arena;
    for (int32_t m = 0; m < samples; m++) {
        const int8_t *image = x + (ptrdiff_t)(m % run->memory.batch) * positions * colours;
        const int8_t *plane = dfe_bytes(run, run->program->planes) +
                              (ptrdiff_t)(label[m] < 0 ? 0 : label[m]) * positions * 2;
        for (int32_t i = 0; i < positions; i++) {
            for (int32_t c = 0; c < colours; c++) *out++ = *image++;
            for (int32_t c = 0; c < 2; c++, plane++) *out++ = label[m] < 0 ? 0 : *plane;
        }
    }
    return (const int8_t *)run->arena;
}

/* A layer up to its energies. */
static void see(const dfe_run *run, const dfe_layer *layer, const int8_t *x, const dfe_frame *frame,
                const copies *each) {
    dfe_shape s = dfe_output(run->program, layer);
    ptrdiff_t n = (ptrdiff_t)s.height * s.width * s.channels;
    int32_t samples = run->memory.batch * run->memory.copies;
    dfe_place at = {0, 0};
    while (!dfe_forward(run, layer, samples, x, frame, &at)) continue;
    for (int32_t m = 0; m < samples; m++) {
        each->energy[m] = dfe_energy(frame->h + m * n, n);
        if (layer->counted)
            each->total[m] += each->energy[m] >> (ENERGY_SHIFT + layer->score_shift);
    }
}

static const int8_t *onward(const dfe_run *run, const dfe_layer *layer, const dfe_frame *frame,
                            const copies *each) {
    dfe_shape s = dfe_output(run->program, layer);
    ptrdiff_t n = (ptrdiff_t)s.height * s.width * s.channels;
    int32_t samples = run->memory.batch * run->memory.copies;
    uint64_t norm = (uint64_t)(uint32_t)layer->norm_high << 32 | (uint32_t)layer->norm_low;
    for (int32_t m = 0; m < samples; m++)
        dfe_normalise(frame->h + m * n, n, each->energy[m], norm, layer->norm_shift);
    if (layer->pool) dfe_max_pool(frame->h, samples, s, frame->handed);
    return frame->handed;
}

/* Which copies of sample b move, and whether any does. */
static int contrast(const dfe_run *run, const dfe_layer *layer, const copies *each, int32_t b,
                    int8_t *way) {
    int32_t batch = run->memory.batch, best = -1, worst = 0;
    int32_t right = each->energy[b] >> ENERGY_SHIFT;
    for (int32_t m = 1; m < run->memory.copies; m++) {
        int32_t at = m * batch + b, unit = each->energy[at] >> ENERGY_SHIFT;
        way[at] = 0;
        if (each->label[at] >= 0 && unit > best) {
            best = unit;
            worst = at;
        }
    }
    int32_t violation = ENERGY_UNIT * (best - right) + layer->margin * (best + right);
    int acts = best >= 0 && violation > 0;
    way[b] = acts ? -1 : 0;
    if (acts) way[worst] = 1;
    return acts;
}

static void by_label(const dfe_run *run, const copies *each, int32_t *scores) {
    int32_t batch = run->memory.batch, classes = run->program->classes;
    for (ptrdiff_t i = 0; i < (ptrdiff_t)batch * classes; i++) scores[i] = DFE_DEAD;
    for (int32_t m = 0; m < batch * run->memory.copies; m++)
        if (each->label[m] >= 0)
            scores[(ptrdiff_t)(m % batch) * classes + each->label[m]] = each->total[m];
}

/* Apart: what it needs is not on the stack while a layer computes forwards. */
static __attribute__((noinline)) void move(const dfe_run *run, const dfe_layer *layer,
                                           int32_t samples, const int8_t *x,
                                           const dfe_frame *frame, const dfe_error *error) {
    dfe_moving moving = dfe_begin_moving(layer, error);
    while (!dfe_move(run, layer, samples, x, frame, &moving)) continue;
}

void dfe_plane_learn(const dfe_run *run, const int8_t *x, const int32_t *y, int32_t *scores,
                     int32_t *active) {
    const dfe_program *program = run->program;
    int32_t batch = run->memory.batch, samples = batch * run->memory.copies;
    copies each = copies_of(run);
    for (int32_t m = 0; m < samples; m++) {
        uint32_t place = run->phase + (uint32_t)(m / batch - 1) * DFE_LATTICE_1 +
                         (uint32_t)(m % batch) * DFE_LATTICE_2;
        each.label[m] = m < batch ? y[m] : drawn(run, y[m % batch], place);
        each.total[m] = 0;
    }
    const int8_t *a = join(run, x, each.label);
    int8_t *way = (int8_t *)run->arena + run->memory.acts;
    for (int32_t i = 0; i < program->layers; i++) {
        const dfe_layer *layer = dfe_layers(program) + i;
        dfe_frame frame = dfe_frame_of(program, &run->memory, run->arena, i);
        dfe_shape s = dfe_output(program, layer);
        see(run, layer, a, &frame, &each);
        active[i] = 0;
        for (int32_t b = 0; b < batch; b++) active[i] += contrast(run, layer, &each, b, way);
        dfe_error error = {DFE_SIGNED, way, frame.h, way, s.height, s.width, s.channels, 0};
        move(run, layer, samples, a, &frame, &error);
        a = onward(run, layer, &frame, &each);
    }
    by_label(run, &each, scores);
}

void dfe_plane_infer(const dfe_run *run, const int8_t *x, int32_t *scores) {
    const dfe_program *program = run->program;
    copies each = copies_of(run);
    for (int32_t k = 0; k < program->classes; k++) {
        for (int32_t b = 0; b < run->memory.batch; b++) {
            each.label[b] = k;
            each.total[b] = 0;
        }
        const int8_t *a = join(run, x, each.label);
        for (int32_t i = 0; i < program->layers; i++) {
            const dfe_layer *layer = dfe_layers(program) + i;
            dfe_frame frame = dfe_frame_of(program, &run->memory, run->arena, i);
            see(run, layer, a, &frame, &each);
            a = onward(run, layer, &frame, &each);
        }
        for (int32_t b = 0; b < run->memory.batch; b++)
            scores[(ptrdiff_t)b * program->classes + k] = each.total[b];
    }
}
