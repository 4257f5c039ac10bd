#include "trunk.h"

#include "convolve.h"
#include "operation.h"

typedef struct {
    void (*run)(const dfe_work *w);
    int (*good)(const dfe_program *p, const dfe_operation *op, dfe_shape given, dfe_shape other);
    int32_t least, most, flags;
} kind;

static const kind KINDS[] = {
#define ROW(name, least, most, flags) {dfe_run_##name, dfe_good_##name, least, most, flags},
    DFE_EVERY_KIND(ROW)
#undef ROW
};

static int is(const dfe_operation *op, int32_t flag) { return KINDS[op->kind].flags & flag; }

dfe_shape dfe_value_shape(const dfe_program *program, int32_t value) {
    dfe_shape image = {program->height, program->width, program->channels};
    return value ? dfe_made(dfe_operations(program) + value - 1) : image;
}

int32_t dfe_value_read(const dfe_program *program, const dfe_operation *op, int32_t number) {
    return dfe_reads(program)[op->first + number];
}

dfe_conv dfe_windows(const dfe_operation *op, dfe_shape given) {
    int alone = op->groups == given.channels && op->groups == op->channels;
    dfe_conv c = {given.height, given.width, given.channels, op->channels,
                  op->kernel_height, op->kernel_width, op->stride, op->across,
                  op->top, op->bottom, op->left, op->right,
                  op->kind == DFE_CONVOLUTION ? alone : 1, op->shift, 0, 0, 0, 0};
    return c;
}

static int8_t *made_at(const dfe_image *m, int32_t number) {
    return number + 1 == m->program->operations
               ? m->latent
               : m->workspace + dfe_operations(m->program)[number].place;
}

const int8_t *dfe_value(const dfe_image *image, int32_t value) {
    return value ? made_at(image, value - 1) : image->x;
}

/* A whole map, or of a convolution the next outputs; 1: they were the last. */
static int run(const dfe_image *m, int32_t number, int32_t *next, int sliced) {
    const dfe_operation *op = dfe_operations(m->program) + number;
    int32_t first = dfe_value_read(m->program, op, 0);
    const int8_t *other = op->reads > 1 ? dfe_value(m, dfe_value_read(m->program, op, 1)) : NULL;
    dfe_work w = {m, op, dfe_value_shape(m->program, first), dfe_value(m, first), other,
                  made_at(m, number), dfe_all(op->channels), number};
    if (sliced && op->kind == DFE_CONVOLUTION) {
        dfe_conv conv = dfe_windows(op, w.given);
        w.outputs = dfe_slice(*next, dfe_conv_slice(&conv, op->groups, 1), op->channels);
    }
    KINDS[op->kind].run(&w);
    *next = w.outputs.end < op->channels ? w.outputs.end : 0;
    return *next == 0;
}

/* Rows of each value of a chain that lie in its place: begin .. end. */
typedef struct {
    const dfe_image *m;
    int32_t first; /* its first operation */
    dfe_span *rows;
} chain;

static dfe_span window_of(const dfe_operation *op, int32_t y, int32_t height) {
    int32_t start = y * op->stride - op->top;
    dfe_span s = {dfe_clamp(start, 0, height), dfe_clamp(start + op->kernel_height, 0, height)};
    return s;
}

static void make_row(chain *c, int32_t number, int32_t y, int8_t *out);

/* Have rows [wanted) of what operation `number` makes; earlier ones are not asked for again. */
static const int8_t *have_rows(chain *c, int32_t number, dfe_span wanted) {
    const dfe_operation *op = dfe_operations(c->m->program) + number;
    ptrdiff_t row = (ptrdiff_t)op->width * op->channels;
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
    return dfe_value(c->m, read) + (ptrdiff_t)wanted.begin * s.width * s.channels;
}

/* Rows that an operation reads for one of its own: of its first value, and of its second. */
typedef struct {
    dfe_span rows;
    const int8_t *x, *other;
} inputs;

static dfe_span rows_for(const chain *c, int32_t number, int32_t y) {
    const dfe_operation *op = dfe_operations(c->m->program) + number;
    dfe_span one = {y, y + 1};
    int32_t read = dfe_value_read(c->m->program, op, 0);
    return is(op, DFE_WINDOWS) ? window_of(op, y, dfe_value_shape(c->m->program, read).height) : one;
}

/* One row, from rows that are there: apart from `make_row`, which calls itself, for the stack's sake. */
static __attribute__((noinline)) void run_row(const chain *c, int32_t number, int32_t y,
                                              const inputs *in, int8_t *out) {
    const dfe_program *program = c->m->program;
    dfe_operation one = dfe_operations(program)[number];
    dfe_shape given = dfe_value_shape(program, dfe_value_read(program, &one, 0));
    given.height = in->rows.end - in->rows.begin;
    if (is(&one, DFE_WINDOWS)) {
        int32_t start = y * one.stride - one.top;
        one.top = given.height ? in->rows.begin - start : one.kernel_height;
        one.bottom = one.kernel_height - given.height - one.top;
    }
    one.height = 1;
    dfe_work w = {c->m, &one, given, in->x, in->other, out, dfe_all(one.channels), number};
    KINDS[one.kind].run(&w);
}

static void make_row(chain *c, int32_t number, int32_t y, int8_t *out) {
    const dfe_program *program = c->m->program;
    const dfe_operation *op = dfe_operations(program) + number;
    inputs in = {rows_for(c, number, y), NULL, NULL};
    in.x = rows_of(c, number, dfe_value_read(program, op, 0), in.rows);
    if (op->reads > 1) {
        int32_t second = dfe_value_read(program, op, 1);
        dfe_span all = {0, 1};
        int vector = is(op, DFE_BY_CHANNEL) && dfe_value_shape(program, second).height == 1;
        in.other = rows_of(c, number, second, vector ? all : in.rows);
    }
    run_row(c, number, y, &in, out);
}

/* From operation `at->number` to the next that makes a whole map, which becomes the number where its last
 * row is made. */
static int run_chain(const dfe_image *m, dfe_trunk_place *at, int sliced) {
    const dfe_operation *ops = dfe_operations(m->program);
    chain c = {m, at->number, at->rows};
    int32_t last = at->number;
    while (ops[last].rows) last++;
    ptrdiff_t row = (ptrdiff_t)ops[last].width * ops[last].channels;
    int8_t *out = made_at(m, last);
    if (at->next == 0) __builtin_memset(at->rows, 0, sizeof at->rows);
    dfe_span rows = dfe_slice(at->next, sliced ? 1 : ops[last].height, ops[last].height);
    for (int32_t y = rows.begin; y < rows.end; y++) make_row(&c, last, y, out + y * row);
    at->next = rows.end;
    if (rows.end < ops[last].height) return 0;
    at->next = 0;
    at->number = last;
    return 1;
}

int dfe_trunk_some(const dfe_program *program, int32_t batch, const int8_t *x, int8_t *workspace,
                   int8_t *latent, dfe_trunk_place *at, int sliced, const void *kept) {
    ptrdiff_t given = dfe_values(dfe_value_shape(program, 0));
    ptrdiff_t made = dfe_values(dfe_value_shape(program, program->operations));
    dfe_image m = {program, x + at->image * given, workspace, latent + at->image * made, kept};
    int done = dfe_operations(program)[at->number].rows
                   ? run_chain(&m, at, sliced)
                   : run(&m, at->number, &at->next, sliced);
    if (!done || ++at->number < program->operations) return 0;
    at->number = 0;
    return ++at->image == batch;
}

void dfe_trunk(const dfe_program *program, int32_t batch, const int8_t *x, int8_t *workspace,
               int8_t *latent) {
    dfe_trunk_place at = {0, 0, 0, {{0, 0}}};
    while (!dfe_trunk_some(program, batch, x, workspace, latent, &at, 0, NULL)) continue;
}

enum { MAX_READS = 1 << 14 };

static int good_operation(const dfe_program *p, const dfe_operation *op) {
    const kind *of = KINDS + op->kind;
    dfe_shape given = dfe_value_shape(p, dfe_value_read(p, op, 0)), other = given;
    if (op->reads > 1) other = dfe_value_shape(p, dfe_value_read(p, op, 1));
    return dfe_within(op->reads, of->least, of->most) && of->good(p, op, given, other);
}

/* Rows of what it is given that an operation needs for one row. */
static int32_t window_rows(const dfe_operation *op) {
    return is(op, DFE_WINDOWS) ? op->kernel_height : 1;
}

/* What an operation makes row by row only the next one reads, which needs no more rows at a time; in
 * a chain that is not too long.  What others read is whole. */
static int good_rows(const dfe_program *p, int32_t number, int32_t *length) {
    const dfe_operation *ops = dfe_operations(p), *op = ops + number, *next = op + 1;
    for (int32_t i = 0; i < op->reads; i++) {
        int32_t read = dfe_value_read(p, op, i);
        if (read == 0 || ops[read - 1].rows == 0) continue;
        if (read != number || (i && !dfe_alike(dfe_value_shape(p, read), dfe_made(op)))) return 0;
    }
    *length = op->rows ? *length + 1 : 0;
    if (op->rows == 0) return 1;
    return number + 1 < p->operations && *length < DFE_MAX_CHAIN && !is(op, DFE_WHOLE) &&
           !is(next, DFE_WHOLE) && dfe_within(op->rows, window_rows(next), op->height);
}

static int known_kinds(const dfe_program *p) {
    for (int32_t i = 0; i < p->operations; i++)
        if (!dfe_within(dfe_operations(p)[i].kind, 0, DFE_KINDS - 1)) return 0;
    return 1;
}

int dfe_good_trunk(const dfe_program *p) {
    if (!dfe_within(p->operations, 0, DFE_MAX_OPERATIONS) ||
        !dfe_within(p->reads, p->operations, MAX_READS) || p->constant_bytes < 0 ||
        p->constant_bytes % 4 || p->workspace < 0 || !dfe_good_shape(dfe_value_shape(p, 0)) ||
        (p->operations && p->form != DFE_ONE_PASS) || !known_kinds(p))
        return 0;
    int32_t next = 0, length = 0;
    for (int32_t i = 0; i < p->operations; i++) {
        const dfe_operation *op = dfe_operations(p) + i;
        dfe_shape made = dfe_made(op);
        if (op->first != next || !dfe_within(op->reads, 1, p->reads - next) ||
            !dfe_good_shape(made))
            return 0;
        next += op->reads;
        for (int32_t j = 0; j < op->reads; j++)
            if (!dfe_within(dfe_value_read(p, op, j), 0, i)) return 0;
        if (!good_operation(p, op) || !good_rows(p, i, &length)) return 0;
        if (op->rows) made.height = op->rows;
        if (i + 1 < p->operations &&
            (op->place < 0 || op->place + (int64_t)dfe_values(made) > p->workspace))
            return 0;
    }
    return next == p->reads;
}
