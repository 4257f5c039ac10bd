#include "trunk.h"

#include "arithmetic.h"
#include "convolve.h"
#include "frozen.h"
#include "geometry.h"

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

dfe_conv dfe_windows(const dfe_frozen *step, dfe_shape given) {
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

static void convolve(const image *m, const dfe_frozen *step, dfe_shape given, const int8_t *x,
                     int8_t *out) {
    const int8_t *constants = dfe_constants(m->program);
#define WORDS(offset) ((const int32_t *)(const void *)(constants + (offset)))
    dfe_conv conv = dfe_windows(step, given);
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

static int is_vector(dfe_shape s) { return s.height == 1 && s.width == 1; }

/* A step, or one row of it: what it is given are the rows that it needs. */
static void apply(const image *m, const dfe_frozen *step, dfe_shape given, const int8_t *x,
                  const int8_t *other, int8_t *out) {
    switch (step->kind) {
        case DFE_CONVOLVE: convolve(m, step, given, x, out); break;
        case DFE_SURROUND: dfe_surround(step, given, x, out); break;
        case DFE_MIX: dfe_mix(step, dfe_values(given), x, other, out); break;
        case DFE_GATE: {
            dfe_shape by = dfe_value_shape(m->program, dfe_value_read(m->program, step, 1));
            dfe_gate(step, x, other, is_vector(by), out);
            break;
        }
        case DFE_SWISH: dfe_swish(step, dfe_values(given), x, out); break;
        case DFE_MEAN: dfe_mean(step, given, x, out); break;
        case DFE_LARGEST: dfe_largest(step, given, x, out); break;
        case DFE_CONCAT: concat(m, step, out); break;
    }
}

static void run(const image *m, int32_t number) {
    const dfe_frozen *step = dfe_steps(m->program) + number;
    int32_t first = dfe_value_read(m->program, step, 0);
    const int8_t *other = step->reads > 1 ? value(m, dfe_value_read(m->program, step, 1)) : NULL;
    apply(m, step, dfe_value_shape(m->program, first), value(m, first), other,
          made_at(m, number));
}

/* Rows of each value of a chain that lie in its place: begin .. end. */
typedef struct {
    const image *m;
    int32_t first; /* its first step */
    dfe_span rows[DFE_MAX_CHAIN];
} chain;

static dfe_span window_of(const dfe_frozen *step, int32_t y, int32_t height) {
    int32_t start = y * step->stride - step->top;
    dfe_span s = {dfe_clamp(start, 0, height), dfe_clamp(start + step->kernel_height, 0, height)};
    return s;
}

static void make_row(chain *c, int32_t number, int32_t y, int8_t *out);

/* Have rows [wanted) of what step `number` makes; earlier ones are not asked for again. */
static const int8_t *have_rows(chain *c, int32_t number, dfe_span wanted) {
    const dfe_frozen *step = dfe_steps(c->m->program) + number;
    ptrdiff_t row = (ptrdiff_t)step->width * step->channels;
    dfe_span *there = c->rows + number - c->first;
    int8_t *place = made_at(c->m, number);
    int32_t kept = dfe_max(0, there->end - wanted.begin);
    if (kept && wanted.begin > there->begin)
        __builtin_memmove(place, place + (wanted.begin - there->begin) * row, (size_t)(kept * row));
    there->begin = wanted.begin;
    there->end = wanted.begin + kept;
    for (; there->end < wanted.end; there->end++)
        make_row(c, number, there->end, place + (there->end - there->begin) * row);
    return place;
}

/* Where rows [wanted) of a value begin. */
static const int8_t *rows_of(chain *c, int32_t number, int32_t read, dfe_span wanted) {
    dfe_shape s = dfe_value_shape(c->m->program, read);
    if (read == number && number > c->first) return have_rows(c, number - 1, wanted);
    return value(c->m, read) + (ptrdiff_t)wanted.begin * s.width * s.channels;
}

static void make_row(chain *c, int32_t number, int32_t y, int8_t *out) {
    const dfe_program *program = c->m->program;
    dfe_frozen one = dfe_steps(program)[number];
    int32_t first = dfe_value_read(program, &one, 0);
    int32_t second = one.reads > 1 ? dfe_value_read(program, &one, 1) : -1;
    dfe_shape given = dfe_value_shape(program, first);
    dfe_span wanted = {y, y + 1}, all = {0, 1};
    if (dfe_window_rows(&one)) {
        wanted = window_of(&one, y, given.height);
        int32_t start = y * one.stride - one.top, count = wanted.end - wanted.begin;
        one.top = count ? wanted.begin - start : one.kernel_height;
        one.bottom = one.kernel_height - count - one.top;
    }
    one.height = 1;
    given.height = wanted.end - wanted.begin;
    const int8_t *x = rows_of(c, number, first, wanted), *other = NULL;
    if (second >= 0) {
        int vector = one.kind == DFE_GATE && is_vector(dfe_value_shape(program, second));
        other = rows_of(c, number, second, vector ? all : wanted);
    }
    apply(c->m, &one, given, x, other, out);
}

/* From step `first` to the next that makes a whole map, whose number is given back. */
static int32_t run_chain(const image *m, int32_t first) {
    const dfe_frozen *steps = dfe_steps(m->program);
    chain c = {m, first, {{0, 0}}};
    int32_t last = first;
    while (steps[last].rows) last++;
    ptrdiff_t row = (ptrdiff_t)steps[last].width * steps[last].channels;
    int8_t *out = made_at(m, last);
    for (int32_t y = 0; y < steps[last].height; y++) make_row(&c, last, y, out + y * row);
    return last;
}

void dfe_trunk(const dfe_program *program, int32_t batch, const int8_t *x, int8_t *workspace,
               int8_t *latent) {
    ptrdiff_t given = dfe_values(dfe_value_shape(program, 0));
    ptrdiff_t made = dfe_values(dfe_value_shape(program, program->steps));
    for (int32_t b = 0; b < batch; b++) {
        image m = {program, x + b * given, workspace, latent + b * made};
        for (int32_t i = 0; i < program->steps; i++)
            if (dfe_steps(program)[i].rows) i = run_chain(&m, i);
            else run(&m, i);
    }
}
