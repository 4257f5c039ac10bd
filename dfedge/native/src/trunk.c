#include "trunk.h"

#include "convolve.h"
#include "frozen.h"

dfe_shape dfe_value_shape(const dfe_program *program, int32_t value) {
    dfe_shape image = {program->height, program->width, program->channels};
    if (value == 0) return image;
    const dfe_frozen *step = dfe_steps(program) + value - 1;
    dfe_shape made = {step->height, step->width, step->channels};
    return made;
}

int32_t dfe_value_read(const dfe_program *program, const dfe_frozen *step, int32_t number) {
    return dfe_reads(program)[step->first + number];
}

dfe_conv dfe_windows(const dfe_program *program, const dfe_frozen *step) {
    dfe_shape given = dfe_value_shape(program, dfe_value_read(program, step, 0));
    dfe_conv c = {given.height, given.width, given.channels, step->channels,
                  step->kernel_height, step->kernel_width, step->stride,
                  step->top, step->bottom, step->left, step->right,
                  step->kind == DFE_CONVOLVE ? step->depthwise : 1, step->shift, 0, 0, 0, 0};
    return c;
}

/* One image on its way. */
typedef struct {
    const dfe_program *program;
    const int8_t *x;
    int8_t *workspace, *latent;
} image;

static int8_t *made_at(const image *m, int32_t number) {
    return number + 1 == m->program->steps ? m->latent
                                           : m->workspace + dfe_steps(m->program)[number].place;
}

static const int8_t *value(const image *m, int32_t number) {
    return number ? made_at(m, number - 1) : m->x;
}

static void convolve(const image *m, const dfe_frozen *step, const int8_t *x, int8_t *out) {
    const int8_t *constants = dfe_constants(m->program);
#define WORDS(offset) ((const int32_t *)(const void *)(constants + (offset)))
    dfe_conv conv = dfe_windows(m->program, step);
    dfe_scaling scaling = {WORDS(step->lift), WORDS(step->limit)};
    dfe_conv_scaled(&conv, 1, x, constants + step->weight, WORDS(step->bias), scaling, out);
#undef WORDS
}

static void concat(const image *m, const dfe_frozen *step, int8_t *out) {
    ptrdiff_t positions = (ptrdiff_t)step->height * step->width;
    for (int32_t i = 0; i < step->reads; i++) {
        int32_t read = dfe_value_read(m->program, step, i);
        int32_t channels = dfe_value_shape(m->program, read).channels;
        dfe_beside(positions, value(m, read), channels, out, step->channels);
        out += channels;
    }
}

static void run(const image *m, int32_t number) {
    const dfe_frozen *step = dfe_steps(m->program) + number;
    int32_t first = dfe_value_read(m->program, step, 0);
    int32_t second = step->reads > 1 ? dfe_value_read(m->program, step, 1) : -1;
    dfe_shape given = dfe_value_shape(m->program, first);
    const int8_t *x = value(m, first), *other = second < 0 ? NULL : value(m, second);
    int8_t *out = made_at(m, number);
    switch (step->kind) {
        case DFE_CONVOLVE: convolve(m, step, x, out); break;
        case DFE_SURROUND: dfe_surround(step, given, x, out); break;
        case DFE_MIX: dfe_mix(step, dfe_values(given), x, other, out); break;
        case DFE_GATE: {
            dfe_shape by = dfe_value_shape(m->program, second);
            dfe_gate(step, x, other, by.height == 1 && by.width == 1, out);
            break;
        }
        case DFE_SWISH: dfe_swish(step, dfe_values(given), x, out); break;
        case DFE_MEAN: dfe_mean(step, given, x, out); break;
        case DFE_LARGEST: dfe_largest(step, given, x, out); break;
        case DFE_CONCAT: concat(m, step, out); break;
    }
}

void dfe_trunk(const dfe_program *program, int32_t batch, const int8_t *x, int8_t *workspace,
               int8_t *latent) {
    ptrdiff_t given = dfe_values(dfe_value_shape(program, 0));
    ptrdiff_t made = dfe_values(dfe_value_shape(program, program->steps));
    for (int32_t b = 0; b < batch; b++) {
        image m = {program, x + b * given, workspace, latent + b * made};
        for (int32_t i = 0; i < program->steps; i++) run(&m, i);
    }
}
