#include "convolve.h"

#include "panel.h"
#if !DFE_SMALL
#include "tile.h"
#endif

/* Output positions that are computed together: they share a window, so one loop serves all. */
typedef struct {
    const int8_t *x[DFE_PIXELS]; /* where the window begins */
    const int8_t *skip[DFE_PIXELS];
    ptrdiff_t place[DFE_PIXELS];
    int32_t count;
} block;

static void add_skip(const dfe_task *t, const block *at, int32_t o, int32_t outputs, int32_t *acc) {
    const dfe_skip *s = t->skip;
    const dfe_level *level = dfe_level_now();
    int32_t other[DFE_PIXELS * DFE_OUTPUTS];
    for (int32_t p = 0; p < at->count; p++)
        for (int32_t i = 0; i < outputs; i++)
            other[p * DFE_OUTPUTS + i] = s->conv ? s->b[o + i] : at->skip[p][o + i];
    if (s->conv) {
        dfe_taps_run one = {s->w + o, 0, 0, 1, s->conv->in_channels, s->conv->channels};
        level->multiply(at->skip, at->count, &one, outputs, other);
    }
    for (int32_t p = 0; p < at->count; p++)
        for (int32_t i = p * DFE_OUTPUTS; i < p * DFE_OUTPUTS + outputs; i++)
            acc[i] = acc[i] * (1 << s->lift) + other[i] * (1 << s->skip_lift);
}

/* Outputs o .. o + outputs of one position, from their sums. */
static void activate(const dfe_task *t, const int32_t *acc, ptrdiff_t place, int32_t o,
                     int32_t outputs) {
    const dfe_level *level = dfe_level_now();
    int8_t *to = t->h + place * t->conv->channels + o;
    if (t->scaling)
        level->scale(acc, outputs, t->scaling->lift + o, t->scaling->limit + o, t->conv->shift, to);
    else
        level->activate(acc, outputs, t->conv->shift, to);
}

static void flush(const dfe_task *t, block *at) {
    const dfe_conv *conv = t->conv;
    const dfe_level *level = dfe_level_now();
    /* Of many groups the channels that one sees do not lie side by side: one column of taps at a
     * time.  Depthwise, any outputs are as good as a group. */
    int32_t apart = t->groups > 1 && !conv->depthwise;
    int32_t own = apart ? conv->channels / t->groups : conv->channels;
    int32_t each = conv->in_channels / t->groups; /* weights of a tap and an output */
    int32_t columns = t->columns.end - t->columns.begin;
    ptrdiff_t step = (ptrdiff_t)each * conv->channels;
    int32_t acc[DFE_PIXELS * DFE_OUTPUTS];
    for (int32_t o = t->outputs.begin, outputs; o < t->outputs.end; o += outputs) {
        int32_t group = o / own;
        outputs = dfe_min(DFE_OUTPUTS, dfe_min((group + 1) * own, t->outputs.end) - o);
        for (int32_t p = 0; p < at->count; p++)
            for (int32_t i = 0; i < outputs; i++) acc[p * DFE_OUTPUTS + i] = t->b[o + i];
        for (int32_t c = 0; c < (apart ? columns : 1); c++) {
            const int8_t *x[DFE_PIXELS];
            ptrdiff_t from = conv->depthwise ? o : (ptrdiff_t)c * conv->in_channels + group * each;
            for (int32_t p = 0; p < at->count; p++) x[p] = at->x[p] + from;
            dfe_taps_run taps = {
                t->w + (t->rows.begin * conv->kernel_width + t->columns.begin + c) * step + o,
                conv->kernel_width * step,
                (ptrdiff_t)conv->width * conv->in_channels,
                t->rows.end - t->rows.begin,
                apart ? each : columns * each,
                conv->channels,
            };
            (conv->depthwise ? level->depthwise : level->multiply)(x, at->count, &taps, outputs,
                                                                   acc);
        }
        if (t->skip) add_skip(t, at, o, outputs, acc);
        for (int32_t p = 0; p < at->count; p++)
            activate(t, acc + p * DFE_OUTPUTS, at->place[p], o, outputs);
    }
    at->count = 0;
}

/* All outputs in [rows) x [columns), which share t's window. */
static void zone(const dfe_task *t, int32_t batch, const int8_t *x, dfe_span rows, dfe_span columns) {
    const dfe_conv *conv = t->conv;
    const dfe_conv *skip = t->skip ? t->skip->conv : NULL;
    ptrdiff_t out_height = dfe_out_height(conv), out_width = dfe_out_width(conv);
    block at;
    at.count = 0;
    for (int32_t b = 0; b < batch; b++)
        for (int32_t oy = rows.begin; oy < rows.end; oy++)
            for (int32_t ox = columns.begin; ox < columns.end; ox++) {
                ptrdiff_t y = oy * conv->stride - conv->top + t->rows.begin;
                ptrdiff_t across = ox * conv->across - conv->left + t->columns.begin;
                ptrdiff_t place = (b * out_height + oy) * out_width + ox;
                at.x[at.count] =
                    t->rows.begin < t->rows.end && t->columns.begin < t->columns.end
                        ? x + (((ptrdiff_t)b * conv->height + y) * conv->width + across) *
                                  conv->in_channels
                        : x; /* an empty window: nothing is read */
                at.place[at.count] = place;
                if (skip)
                    at.skip[at.count] =
                        t->skip->x + (((ptrdiff_t)b * skip->height + oy * skip->stride) *
                                          skip->width +
                                      ox * skip->stride) *
                                         skip->in_channels;
                else if (t->skip)
                    at.skip[at.count] = t->skip->x + place * conv->channels;
                if (++at.count == DFE_PIXELS) flush(t, &at);
            }
    if (at.count) flush(t, &at);
}

static void convolve(dfe_task *t, int32_t batch, const int8_t *x) {
    const dfe_conv *conv = t->conv;
#if !DFE_SMALL
    if (dfe_in_tiles(t, batch, x)) return;
#endif
    int32_t height = dfe_out_height(conv), width = dfe_out_width(conv);
    dfe_span rows, columns;
    for (rows.begin = 0; rows.begin < height; rows.begin = rows.end) {
        rows.end = dfe_zone_end(rows.begin, conv->stride, conv->top, conv->kernel_height,
                                conv->height, height);
        for (columns.begin = 0; columns.begin < width; columns.begin = columns.end) {
            columns.end = dfe_zone_end(columns.begin, conv->across, conv->left,
                                       conv->kernel_width, conv->width, width);
            t->rows = dfe_window(rows.begin, conv->stride, conv->top, conv->kernel_height,
                                 conv->height);
            t->columns = dfe_window(columns.begin, conv->across, conv->left, conv->kernel_width,
                                    conv->width);
            zone(t, batch, x, rows, columns);
        }
    }
}

/* Whether packed weights serve enough positions. */
static int packs(const dfe_conv *conv, int32_t groups, int32_t batch) {
    return DFE_SMALL && dfe_level_now()->panel && groups == 1 && !conv->depthwise &&
           batch * dfe_out_height(conv) * dfe_out_width(conv) >= DFE_PANEL_LEAST;
}

int32_t dfe_conv_slice(const dfe_conv *conv, int32_t groups, int32_t batch) {
    return packs(conv, conv->depthwise ? conv->channels : groups, batch) ? DFE_PANEL_WIDTH
                                                                       : DFE_OUTPUTS;
}

/* In room on the stack for so many weights of an output, which no other call has below it. */
#define PACKED(name, weights)                                                             \
    static __attribute__((noinline)) void name(dfe_task *t, int32_t batch, const int8_t *x) { \
        int32_t room[(weights) * DFE_PANEL_WIDTH / 4];                                    \
        dfe_panel_convolve(t, batch, x, (int8_t *)room, weights);                         \
    }

PACKED(in_small_room, DFE_PANEL_SMALL)
PACKED(in_medium_room, DFE_PANEL_MEDIUM)
PACKED(in_large_room, DFE_PANEL_LARGE)

/* Of one output, as they are packed. */
static int32_t packed_weights(const dfe_conv *conv) {
    int32_t group = dfe_level_now()->panel->group;
    return conv->kernel_height * dfe_ceil_div(conv->kernel_width * conv->in_channels, group) *
           group;
}

void dfe_conv_join_some(const dfe_conv *conv, int32_t batch, const int8_t *x, const int8_t *w,
                        const int32_t *b, const dfe_skip *skip, int8_t *h, dfe_span some) {
    int32_t groups = conv->depthwise ? conv->channels : 1;
    dfe_task t = {conv, groups, w, b, skip, NULL, h, {0, 0}, {0, 0}, some};
    if (!packs(conv, groups, batch))
        convolve(&t, batch, x);
    else if (packed_weights(conv) <= DFE_PANEL_SMALL)
        in_small_room(&t, batch, x);
    else if (packed_weights(conv) <= DFE_PANEL_MEDIUM)
        in_medium_room(&t, batch, x);
    else
        in_large_room(&t, batch, x);
}

void dfe_conv_join(const dfe_conv *conv, int32_t batch, const int8_t *x, const int8_t *w,
                   const int32_t *b, const dfe_skip *skip, int8_t *h) {
    dfe_conv_join_some(conv, batch, x, w, b, skip, h, dfe_all(conv->channels));
}

void dfe_conv_scaled_some(const dfe_conv *conv, int32_t groups, int32_t batch, const int8_t *x,
                          const int8_t *w, const int32_t *b, dfe_scaling scaling, int8_t *h,
                          dfe_span some) {
    dfe_task t = {conv, groups, w, b, NULL, &scaling, h, {0, 0}, {0, 0}, some};
    if (packs(conv, groups, batch))
        in_small_room(&t, batch, x);
    else
        convolve(&t, batch, x);
}

void dfe_conv_scaled(const dfe_conv *conv, int32_t groups, int32_t batch, const int8_t *x,
                     const int8_t *w, const int32_t *b, dfe_scaling scaling, int8_t *h) {
    dfe_conv_scaled_some(conv, groups, batch, x, w, b, scaling, h, dfe_all(conv->channels));
}

void dfe_conv_relu(const dfe_conv *conv, int32_t batch, const int8_t *x, const int8_t *w,
                   const int32_t *b, int8_t *h) {
    dfe_conv_join(conv, batch, x, w, b, NULL, h);
}
