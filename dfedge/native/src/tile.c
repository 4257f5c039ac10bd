#include "tile.h"

#include "arithmetic.h"

#if !DFE_SMALL

enum {
    ROOM = 4608 * 16, /* bytes of packed weights: 3 x 3 of 512 channels, for a register of outputs */
    PATCHES = 1 << 14,
    AT_ONCE = 64, /* patches */
    LEAST = 8,    /* positions that are worth packing for, */
    FEWEST = 2,   /* or worth it where that is done */
    SHORT = 4,    /* of a row, that are not worth a tile */
    LINE = 64, /* of a cache: panels begin at one */
    NUMBERS = 3 * DFE_TILE_REGISTERS * 16, /* of a panel: start, lift, limit */
    GROUP = 4, /* weights that lie side by side */
};

typedef struct {
    const dfe_task *task;
    const dfe_tile_kernels *kernels;
    const int8_t *x;
    dfe_panel panel;
    int32_t o;              /* its first output */
    int32_t run, values;    /* of a row of taps and of a window, as its weights are packed */
    dfe_span columns;       /* positions of a row whose windows are read where they lie */
    int8_t *patches;
    int32_t held; /* patches */
    ptrdiff_t place[AT_ONCE];
} tiles;

/* Of positions one after the other, from `first` on or as `places` has them: tiles as even as can be;
 * the last begins earlier where it would be shorter. */
static void run_of(const tiles *t, dfe_window_run in, ptrdiff_t count, ptrdiff_t first,
                   const ptrdiff_t *places) {
    ptrdiff_t number = (count + t->kernels->most[t->panel.registers] - 1) /
                       t->kernels->most[t->panel.registers];
    int32_t each = (int32_t)((count + number - 1) / number);
    const int8_t *x = in.x;
    for (ptrdiff_t i = 0; i < number; i++) {
        ptrdiff_t p = i + 1 < number ? i * each : count - each;
        int8_t *to[DFE_TILE_POSITIONS];
        for (int32_t j = 0; j < each; j++)
            to[j] = t->task->h + t->o +
                    (places ? places[p + j] : first + p + j) * t->task->conv->channels;
        in.x = x + p * in.step;
        t->kernels->make(&in, each, &t->panel, to);
    }
}

static void flush(tiles *t) {
    dfe_window_run in = {t->patches, t->panel.packed, t->values, 0, 1, t->values};
    if (t->held) run_of(t, in, t->held, 0, t->place);
    t->held = 0;
}

/* Bytes that a call would take longer for. */
static inline void copy(int8_t *to, const int8_t *from, ptrdiff_t bytes) {
    for (; bytes >= 16; bytes -= 16, to += 16, from += 16) __builtin_memcpy(to, from, 16);
    for (; bytes >= GROUP; bytes -= GROUP, to += GROUP, from += GROUP) __builtin_memcpy(to, from, GROUP);
    for (; bytes > 0; bytes--) *to++ = *from++;
}

/* A window as one run, zeros where it lies outside the image. */
static void take_patch(tiles *t, int32_t b, int32_t oy, int32_t ox) {
    const dfe_conv *c = t->task->conv;
    dfe_span rows = dfe_window(oy, c->stride, c->top, c->kernel_height, c->height);
    dfe_span columns = dfe_window(ox, c->across, c->left, c->kernel_width, c->width);
    int32_t wide = columns.end - columns.begin;
    int8_t *to = t->patches + (ptrdiff_t)t->held * t->values;
    if ((rows.end - rows.begin) * wide < dfe_taps(c)) __builtin_memset(to, 0, (size_t)t->values);
    ptrdiff_t y = (ptrdiff_t)b * c->height + oy * c->stride - c->top;
    ptrdiff_t across = (ptrdiff_t)ox * c->across - c->left + columns.begin;
    to += (ptrdiff_t)columns.begin * c->in_channels;
    for (int32_t r = rows.begin; wide && r < rows.end; r++)
        copy(to + (ptrdiff_t)r * t->run, t->x + ((y + r) * c->width + across) * c->in_channels,
             (ptrdiff_t)wide * c->in_channels);
    t->place[t->held++] = ((ptrdiff_t)b * dfe_out_height(c) + oy) * dfe_out_width(c) + ox;
    if (t->held == AT_ONCE || (t->held + 1) * t->values > PATCHES) flush(t);
}

static void every_position(tiles *t, int32_t batch) {
    const dfe_conv *c = t->task->conv;
    int32_t height = dfe_out_height(c), width = dfe_out_width(c);
    int32_t count = t->columns.end - t->columns.begin;
    ptrdiff_t row = (ptrdiff_t)c->width * c->in_channels;
    ptrdiff_t packed = (ptrdiff_t)t->run * t->panel.registers * t->kernels->lanes;
    dfe_window_run in = {t->x, t->panel.packed, (ptrdiff_t)c->across * c->in_channels, row,
                         c->kernel_height, t->run};
    if (dfe_taps(c) * c->stride * c->across == 1 && count == width && height == c->height) {
        run_of(t, in, (ptrdiff_t)batch * height * width, 0, NULL); /* all images are one row */
        return;
    }
    for (int32_t b = 0; b < batch; b++)
        for (int32_t oy = 0; oy < height; oy++) {
            dfe_span rows = dfe_window(oy, c->stride, c->top, c->kernel_height, c->height);
            ptrdiff_t y = (ptrdiff_t)b * c->height + oy * c->stride - c->top + rows.begin;
            in.rows = rows.end - rows.begin;
            in.x = t->x; /* where nothing is read */
            if (in.rows) in.x += y * row + ((ptrdiff_t)t->columns.begin * c->across - c->left) * c->in_channels;
            in.packed = t->panel.packed + rows.begin * packed;
            if (count) run_of(t, in, count, ((ptrdiff_t)b * height + oy) * width + t->columns.begin, NULL);
            for (int32_t ox = 0; ox < t->columns.begin; ox++) take_patch(t, b, oy, ox);
            for (int32_t ox = t->columns.end; ox < width; ox++) take_patch(t, b, oy, ox);
        }
    flush(t);
}

/* Channels on their own: rows of outputs, one after the other. */
static void every_row(const tiles *t, int32_t batch) {
    const dfe_conv *c = t->task->conv;
    int32_t height = dfe_out_height(c), width = dfe_out_width(c);
    dfe_column_run in = {NULL, (ptrdiff_t)c->width * c->channels, c->channels, {0, 0},
                         c->kernel_height, c->kernel_width, -c->left, c->width, c->across};
    for (int32_t b = 0; b < batch; b++)
        for (int32_t oy = 0; oy < height; oy++) {
            ptrdiff_t y = (ptrdiff_t)b * c->height + oy * c->stride - c->top;
            in.rows = dfe_window(oy, c->stride, c->top, c->kernel_height, c->height);
            in.x = t->x + t->o + y * in.row;
            t->kernels->depthwise(&in, width, &t->panel,
                                  t->task->h + t->o +
                                      ((ptrdiff_t)b * height + oy) * width * c->channels,
                                  c->channels);
        }
}

/* Outputs of one axis whose windows lie inside. */
static dfe_span inside(int32_t stride, int32_t pad, int32_t kernel, int32_t size, int32_t outputs) {
    int32_t room = size + pad - kernel;
    dfe_span s = {dfe_ceil_div(pad, stride), room < 0 ? 0 : dfe_min(outputs, room / stride + 1)};
    if (s.end < s.begin) s.end = s.begin;
    return s;
}

/* The weights of a panel: of one row of taps after the other, or of channels on their own one column. */
static void pack(const tiles *t, int8_t *room) {
    const dfe_task *task = t->task;
    const dfe_conv *c = task->conv;
    ptrdiff_t step = t->panel.registers * t->kernels->lanes;
    if (c->depthwise) {
        for (int32_t k = 0; k < c->kernel_width; k++, room += t->run * step)
            t->kernels->pack(task->w + t->o + (ptrdiff_t)k * c->channels,
                             (ptrdiff_t)c->kernel_width * c->channels, c->kernel_height,
                             t->panel.outputs, t->panel.registers, room);
        return;
    }
    ptrdiff_t row = (ptrdiff_t)c->kernel_width * c->in_channels;
    for (int32_t r = 0; r < c->kernel_height; r++, room += t->run * step)
        t->kernels->pack(task->w + t->o + r * row * c->channels, c->channels, (int32_t)row,
                         t->panel.outputs, t->panel.registers, room);
}

/* Registers of a panel that has room; panels are as even as can be. */
static int32_t registers_for(const dfe_tile_kernels *k, int32_t values, int32_t outputs) {
    int32_t most = dfe_min(DFE_TILE_REGISTERS, ROOM / (values * k->lanes));
    int32_t wanted = dfe_ceil_div(outputs, k->lanes);
    return dfe_ceil_div(wanted, dfe_ceil_div(wanted, most));
}

/* Outputs of the next panel. */
static void next_panel(tiles *t) {
    int32_t rest = t->task->outputs.end - t->o;
    t->panel.registers = registers_for(t->kernels, t->values, rest);
    t->panel.outputs = dfe_min(rest, t->panel.registers * t->kernels->lanes);
}

/* Bytes of a panel: start, lift and limit of its outputs, then its weights. */
static ptrdiff_t panel_bytes(const tiles *t) {
    ptrdiff_t outputs = t->panel.registers * t->kernels->lanes;
    return (outputs * (t->values + 3 * (ptrdiff_t)sizeof(int32_t)) + LINE - 1) / LINE * LINE;
}

/* The panel as it lies, or as it is to be laid, at a line of a cache. */
static void lies_at(tiles *t, const int8_t *at) {
    const int32_t *numbers = (const int32_t *)(const void *)at;
    int32_t outputs = t->panel.registers * t->kernels->lanes;
    t->panel.shift = t->task->conv->shift;
    t->panel.start = numbers;
    t->panel.lift = t->task->scaling ? numbers + outputs : NULL;
    t->panel.limit = numbers + 2 * outputs;
    t->panel.packed = (const int8_t *)(numbers + 3 * outputs);
}

static void lay(tiles *t, int8_t *at) {
    const dfe_task *task = t->task;
    int32_t *numbers = (int32_t *)(void *)at, given = t->panel.outputs, registers = t->panel.registers;
    int32_t outputs = registers * t->kernels->lanes;
    lies_at(t, at);
    pack(t, (int8_t *)(numbers + 3 * outputs));
    t->kernels->order(task->b + t->o, given, registers, numbers);
    if (!task->scaling) return;
    t->kernels->order(task->scaling->lift + t->o, given, registers, numbers + outputs);
    t->kernels->order(task->scaling->limit + t->o, given, registers, numbers + 2 * outputs);
}

static void panels(tiles *t, int32_t batch, const int8_t *kept) {
    int8_t room[ROOM + NUMBERS * sizeof(int32_t) + LINE] __attribute__((aligned(LINE)));
    int8_t patches[PATCHES] __attribute__((aligned(LINE)));
    t->patches = patches;
    for (t->o = t->task->outputs.begin; t->o < t->task->outputs.end; t->o += t->panel.outputs) {
        next_panel(t);
        if (kept) lies_at(t, kept);
        else lay(t, room);
        if (kept) kept += panel_bytes(t);
        if (t->task->conv->depthwise) every_row(t, batch);
        else every_position(t, batch);
    }
}

static int64_t up(int64_t n) { return (n + GROUP - 1) / GROUP * GROUP; }

/* 0: not one for tiles. */
static int planned(tiles *t, const dfe_task *task) {
    const dfe_conv *c = task->conv;
    int64_t run = c->depthwise ? up(c->kernel_height) : up((int64_t)c->kernel_width * c->in_channels);
    int64_t values = run * (c->depthwise ? c->kernel_width : c->kernel_height);
    t->kernels = dfe_level_now()->tile;
    if (!t->kernels || (task->groups > 1 && !c->depthwise) || task->skip ||
        values * t->kernels->lanes > ROOM)
        return 0;
    t->task = task;
    t->run = (int32_t)run;
    t->values = (int32_t)values;
    t->held = 0;
    return 1;
}

int64_t dfe_tile_bytes(const dfe_task *task) {
    tiles t;
    int64_t bytes = 0;
    if (!planned(&t, task)) return 0;
    for (t.o = task->outputs.begin; t.o < task->outputs.end; t.o += t.panel.outputs) {
        next_panel(&t);
        bytes += panel_bytes(&t);
    }
    return bytes;
}

void dfe_tile_keep(const dfe_task *task, int8_t *kept) {
    tiles t;
    if (!planned(&t, task)) return;
    for (t.o = task->outputs.begin; t.o < task->outputs.end; t.o += t.panel.outputs) {
        next_panel(&t);
        lay(&t, kept);
        kept += panel_bytes(&t);
    }
}

int dfe_in_tiles(const dfe_task *task, int32_t batch, const int8_t *x) {
    const dfe_conv *c = task->conv;
    tiles t;
    const int8_t *kept = task->scaling && task->outputs.end - task->outputs.begin == c->channels ? task->scaling->kept : NULL;
    int32_t width = dfe_out_width(c), row = c->kernel_width * c->in_channels;
    if ((int64_t)batch * dfe_out_height(c) * width < (kept ? FEWEST : LEAST) || !planned(&t, task))
        return 0;
    t.x = x;
    /* A window's last values that are filled up are read, times zero: not beyond a row's end. */
    int32_t more = dfe_ceil_div(t.run - row, c->in_channels);
    t.columns = inside(c->across, c->left, c->kernel_width + more, c->width, width);
    if (t.columns.end - t.columns.begin < dfe_min(SHORT, width)) t.columns.begin = t.columns.end = 0;
    panels(&t, batch, kept);
    return 1;
}

#endif
