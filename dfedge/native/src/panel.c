#include "panel.h"

#include "arithmetic.h"

enum { SUMS = 48, AXES = 3 };

/* Positions along one axis of a zone: how many, and from one to the next. */
typedef struct {
    int32_t count;
    ptrdiff_t x, place;
} axis;

/* A position: where its window begins, and which output it is. */
typedef struct {
    const int8_t *x;
    ptrdiff_t place;
} spot;

typedef struct {
    dfe_task *task;
    const dfe_panel_kernels *kernels;
    int8_t *room;
    int32_t weights; /* that have room */
    int32_t o, outputs;
    /* A row of taps: where it begins and how many weights it has, all of them unless parts of it
     * would not begin at a group. */
    int32_t begin, values;
    int32_t height, piece; /* rows of taps that have room, and weights of each */
    dfe_span window;       /* of a row, from `begin` on */
    int started;
    dfe_packed_rows rows; /* of a window that is packed whole; none: it is not.  Its step is the input's. */
    /* What the room holds: rows of taps from `row` on, of each the weights from `from` on. */
    int32_t row, from;
    int32_t start[DFE_PANEL_WIDTH]; /* of a sum: its bias, and half of the last place */
    int32_t acc[SUMS];
} panel;

/* What sums of outputs from o on begin with. */
static void begin(panel *p) {
    const dfe_task *t = p->task;
    int32_t half = t->skip || t->scaling ? 0 : dfe_half(t->conv->shift);
    for (int32_t i = 0; i < p->kernels->outputs; i++)
        p->start[i] = i < p->outputs ? t->b[p->o + i] + half : 0;
}

static int32_t up(int32_t n, int32_t group) { return (n + group - 1) / group * group; }

/* Up to `rows` rows of taps, of each the weights from .. end. */
static void have(panel *p, int32_t row, int32_t rows, int32_t from, int32_t end) {
    const dfe_conv *conv = p->task->conv;
    if (p->row == row && p->from == from) return;
    p->row = row;
    p->from = from;
    int8_t *to = p->room;
    for (; rows > 0; rows--, row++, to += up(end - from, p->kernels->group) * DFE_PANEL_WIDTH)
        p->kernels->pack(p->task->w +
                             ((ptrdiff_t)row * conv->kernel_width * conv->in_channels + p->begin +
                              from) * conv->channels +
                             p->o,
                         conv->channels, end - from, p->outputs, to);
}

/* Of rows `r` .. `end` of the window, the weights from .. till of each row of taps. */
static void part(panel *p, const int8_t *x, const axis *along, const axis *across, dfe_span r,
                 dfe_span k) {
    int32_t first = r.begin / p->height * p->height;
    int32_t height = dfe_min(p->height, p->task->conv->kernel_height - first);
    int32_t low = dfe_max(k.begin, p->window.begin), high = dfe_min(k.end, p->window.end);
    if (low >= high) return;
    have(p, first, height, k.begin, k.end);
    ptrdiff_t step = (ptrdiff_t)up(k.end - k.begin, p->kernels->group) * DFE_PANEL_WIDTH;
    dfe_packed_rows rows = {
        p->room + (r.begin - first) * step + (ptrdiff_t)(low - k.begin) * DFE_PANEL_WIDTH, step,
        p->rows.input_step, r.end - r.begin, high - low};
    const int32_t *start = p->started ? NULL : p->start;
    int32_t *acc = p->acc;
    x += (r.begin - p->task->rows.begin) * p->rows.input_step + low - p->window.begin;
    for (int32_t i = 0; i < across->count; i++, x += across->x) {
        p->kernels->sums(x, along->x, along->count, &rows, start, acc);
        acc += along->count * p->kernels->outputs;
    }
    p->started = 1;
}

/* The sums of `along` positions, and of `across` such rows. */
static void sum(panel *p, const int8_t *x, const axis *along, const axis *across) {
    dfe_span window = p->task->rows, r, k;
    p->started = 0;
    for (r.begin = window.begin; r.begin < window.end; r.begin = r.end) {
        r.end = dfe_min(window.end, (r.begin / p->height + 1) * p->height);
        for (k.begin = 0; k.begin < p->values; k.begin = k.end) {
            k.end = dfe_min(p->values, k.begin + p->piece);
            part(p, x, along, across, r, k);
        }
    }
    if (p->started) return;
    for (int32_t i = 0; i < along->count * across->count * p->kernels->outputs; i++)
        p->acc[i] = p->start[i % p->kernels->outputs]; /* an empty window */
}

/* Output o of what a 1 x 1 convolution makes of x: plain, as little goes through it. */
static int32_t through(const dfe_skip *s, const int8_t *x, int32_t o) {
    int32_t sum = s->b[o];
    const int8_t *w = s->w + o;
    for (int32_t c = 0; c < s->conv->in_channels; c++, w += s->conv->channels) sum += x[c] * *w;
    return sum;
}

/* Where what is added to an output begins: at the output's own place, or at its window's of 1 x 1. */
static const int8_t *skipped(const dfe_task *t, ptrdiff_t place) {
    const dfe_conv *one = t->skip->conv;
    if (!one) return t->skip->x + place * t->conv->channels;
    ptrdiff_t width = dfe_out_width(t->conv), height = dfe_out_height(t->conv);
    ptrdiff_t row = place / width, x = place % width, b = row / height, y = row % height;
    return t->skip->x +
           ((b * one->height + y * one->stride) * one->width + x * one->stride) * one->in_channels;
}

/* Apart, for the stack's sake. */
static __attribute__((noinline)) void add_skip(const panel *p, ptrdiff_t place, int32_t *acc) {
    const dfe_skip *s = p->task->skip;
    const int8_t *x = skipped(p->task, place);
    int32_t half = dfe_half(p->task->conv->shift);
    for (int32_t i = 0; i < p->outputs; i++) {
        int32_t other = s->conv ? through(s, x, p->o + i) : x[p->o + i];
        acc[i] = acc[i] * (1 << s->lift) + other * (1 << s->skip_lift) + half;
    }
}

/* From sums to outputs. */
static void finish(const panel *p, ptrdiff_t place, const axis *along, int32_t *acc) {
    const dfe_task *t = p->task;
    int32_t width = p->kernels->outputs;
    int8_t *to = t->h + place * t->conv->channels + p->o;
    ptrdiff_t step = along->place * t->conv->channels;
    if (t->skip)
        for (int32_t i = 0; i < along->count; i++)
            add_skip(p, place + i * along->place, acc + i * width);
    if (!t->scaling) {
        p->kernels->floored(acc, along->count, p->outputs, t->conv->shift, to, step);
        return;
    }
    for (int32_t i = 0; i < along->count; i++, acc += width, to += step)
        dfe_level_now()->scale(acc, p->outputs, t->scaling->lift + p->o, t->scaling->limit + p->o,
                               t->conv->shift, to);
}

/* As many positions as have room, at the crossings of two axes. */
static void some(panel *p, const spot *at, const axis *along, const axis *across) {
    int32_t *acc = p->acc;
    if (p->rows.rows == 0) sum(p, at->x, along, across);
    for (int32_t i = 0; i < across->count; i++, acc += along->count * p->kernels->outputs) {
        if (p->rows.rows)
            p->kernels->sums(at->x + i * across->x, along->x, along->count, &p->rows, p->start, acc);
        finish(p, at->place + i * across->place, along, acc);
    }
}

static spot moved(const spot *at, const axis *by, int32_t n) {
    spot s = {at->x + n * by->x, at->place + n * by->place};
    return s;
}

/* The next axis goes on where this one ends. */
static int follows(const axis *one, const axis *next) {
    return next->x == one->count * one->x && next->place == one->count * one->place;
}

/* All positions of a zone: the longest axis inside. */
static void zone(panel *p, const spot *at, axis *axes) {
    int32_t most = SUMS / p->kernels->outputs;
    if (follows(axes, axes + 1)) {
        axes[0].count *= axes[1].count;
        axes[1].count = 1;
    }
    for (int32_t i = 1; i < AXES; i++)
        if (axes[i].count > axes[0].count) {
            axis other = axes[0];
            axes[0] = axes[i];
            axes[i] = other;
        }
    for (int32_t i = 0; i < axes[0].count; i += most) {
        axis along = axes[0], across = axes[1];
        along.count = dfe_min(most, axes[0].count - i);
        spot column = moved(at, axes, i);
        for (int32_t b = 0; b < axes[2].count; b++) {
            spot begin = moved(&column, axes + 2, b);
            for (int32_t j = 0; j < axes[1].count; j += across.count) {
                spot from = moved(&begin, axes + 1, j);
                across.count = dfe_min(most / along.count, axes[1].count - j);
                some(p, &from, &along, &across);
            }
        }
    }
}

/* How much of a row of taps is packed and read. */
static void settle(panel *p, int parts) {
    const dfe_conv *conv = p->task->conv;
    dfe_span columns = p->task->columns;
    int32_t first = parts ? 0 : columns.begin, last = parts ? conv->kernel_width : columns.end;
    p->begin = first * conv->in_channels;
    p->values = (last - first) * conv->in_channels;
    p->window.begin = columns.begin * conv->in_channels - p->begin;
    p->window.end = columns.end * conv->in_channels - p->begin;
    int32_t whole = dfe_max(up(p->values, p->kernels->group), 1);
    p->height = dfe_max(1, p->weights / whole);
    p->piece = dfe_min(whole, p->weights);
    if (!parts) p->row = -1;
}

/* Pack all that the window reads, where it has room. */
static void pack_whole(panel *p) {
    const dfe_task *t = p->task;
    int32_t whole = up(p->values, p->kernels->group);
    p->rows.rows = 0;
    if (p->height < t->conv->kernel_height || p->piece < whole ||
        p->window.begin >= p->window.end || t->rows.begin >= t->rows.end)
        return;
    have(p, 0, t->conv->kernel_height, 0, p->values);
    ptrdiff_t step = (ptrdiff_t)whole * DFE_PANEL_WIDTH;
    p->rows.packed = p->room + t->rows.begin * step + p->window.begin * DFE_PANEL_WIDTH;
    p->rows.packed_step = step;
    p->rows.rows = t->rows.end - t->rows.begin;
    p->rows.run = p->window.end - p->window.begin;
}

/* The zone whose first output is (oy, ox) and whose window is the task's. */
static void place(panel *p, int32_t batch, const int8_t *x, dfe_span oy, dfe_span ox) {
    const dfe_task *t = p->task;
    const dfe_conv *conv = t->conv;
    int32_t width = dfe_out_width(conv), height = dfe_out_height(conv);
    int32_t y = oy.begin * conv->stride - conv->top + t->rows.begin;
    int32_t across = ox.begin * conv->across - conv->left + t->columns.begin;
    axis axes[AXES] = {
        {ox.end - ox.begin, conv->across * conv->in_channels, 1},
        {oy.end - oy.begin, conv->stride * p->rows.input_step, width},
        {batch, conv->height * p->rows.input_step, (ptrdiff_t)height * width},
    };
    spot at = {x, (ptrdiff_t)oy.begin * width + ox.begin};
    if (t->rows.begin < t->rows.end && t->columns.begin < t->columns.end)
        at.x += y * p->rows.input_step + across * conv->in_channels;
    zone(p, &at, axes);
}

void dfe_panel_convolve(dfe_task *task, int32_t batch, const int8_t *x, int8_t *room,
                        int32_t weights) {
    const dfe_conv *conv = task->conv;
    int32_t height = dfe_out_height(conv), width = dfe_out_width(conv);
    panel p;
    p.task = task;
    p.kernels = dfe_level_now()->panel;
    p.room = room;
    p.weights = weights;
    p.rows.input_step = (ptrdiff_t)conv->width * conv->in_channels;
    int parts = conv->in_channels % p.kernels->group == 0; /* of a row begin at a group */
    for (p.o = task->outputs.begin; p.o < task->outputs.end; p.o += p.kernels->outputs) {
        p.outputs = dfe_min(p.kernels->outputs, task->outputs.end - p.o);
        p.row = -1;
        begin(&p);
        dfe_span oy, ox;
        for (ox.begin = 0; ox.begin < width; ox.begin = ox.end) {
            ox.end = dfe_zone_end(ox.begin, conv->across, conv->left, conv->kernel_width,
                                  conv->width, width);
            task->columns = dfe_window(ox.begin, conv->across, conv->left, conv->kernel_width,
                                   conv->width);
            settle(&p, parts);
            for (oy.begin = 0; oy.begin < height; oy.begin = oy.end) {
                oy.end = dfe_zone_end(oy.begin, conv->stride, conv->top, conv->kernel_height,
                                      conv->height, height);
                task->rows = dfe_window(oy.begin, conv->stride, conv->top, conv->kernel_height,
                                    conv->height);
                pack_whole(&p);
                place(&p, batch, x, oy, ox);
            }
        }
    }
}
