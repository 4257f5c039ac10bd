/* Bounds of dfedge/int8/bounds.py, and the shape of a table that may come from a file. */
#include "check.h"

#include "arithmetic.h"
#include "geometry.h"
#include "pace.h"
#include "trunk.h"

#define INT32_LIMIT (INT64_C(1) << 31)
enum {
    PEAK = 127 * 127,
    MAX_AXIS = 40000,
    MAX_CELL = 4096,
    MAX_GAIN = 7,
    MAX_PULL = 12,
    MAX_SIDE = 1 << 14,
    MAX_VALUES = 1 << 30,
    MAX_TABLE = 1 << 12,
    MARGIN_UNITS = 32,
    ENERGY_SHIFT = 10,
};

static int lies_in(const dfe_program *program, int32_t offset, int64_t bytes, int32_t align) {
    return offset >= 0 && offset % align == 0 && offset + bytes <= program->state_bytes;
}

static int has_feedback(const dfe_program *program) {
    return program->feedback >= DFE_FIXED;
}

int dfe_good_shape(dfe_shape s) {
    return dfe_within(s.height, 1, MAX_SIDE) && dfe_within(s.width, 1, MAX_SIDE) &&
           dfe_within(s.channels, 1, MAX_AXIS) &&
           (int64_t)s.height * s.width * s.channels <= MAX_VALUES;
}

int dfe_good_geometry(const dfe_conv *c, int32_t most_taps) {
    dfe_shape given = {c->height, c->width, c->in_channels};
    return dfe_good_shape(given) && dfe_within(c->channels, 1, MAX_AXIS) &&
           dfe_within(c->kernel_height, 1, MAX_SIDE) && dfe_within(c->kernel_width, 1, MAX_SIDE) &&
           dfe_taps(c) <= most_taps && dfe_within(c->stride, 1, MAX_SIDE) &&
           dfe_within(c->across, 1, MAX_SIDE) &&
           dfe_within(c->top, 0, DFE_MAX_KERNEL) && dfe_within(c->bottom, 0, DFE_MAX_KERNEL) &&
           dfe_within(c->left, 0, DFE_MAX_KERNEL) && dfe_within(c->right, 0, DFE_MAX_KERNEL) &&
           dfe_within(c->depthwise, 0, 1) && (!c->depthwise || c->channels == c->in_channels) &&
           c->height + c->top + c->bottom >= c->kernel_height &&
           c->width + c->left + c->right >= c->kernel_width;
}

static int64_t fan_in(const dfe_conv *c) {
    return (int64_t)dfe_taps(c) * (c->depthwise ? 1 : c->in_channels);
}

static int64_t fan_out(const dfe_conv *c) {
    return (int64_t)dfe_taps(c) * (c->depthwise ? 1 : c->channels);
}

static int good_conv(const dfe_program *program, const dfe_conv *c) {
    if (!dfe_good_geometry(c, DFE_MAX_KERNEL) || c->across != c->stride || !dfe_within(c->shift, 0, DFE_MAX_SHIFT) ||
        !dfe_within(c->back, 0, DFE_MAX_SHIFT))
        return 0;
    if (fan_in(c) * PEAK > INT32_LIMIT - DFE_BIAS_MAX - (1 << 23) ||
        fan_out(c) * PEAK > INT32_LIMIT - (1 << 23))
        return 0;
    int64_t weights = (int64_t)dfe_taps(c) * c->in_channels * (c->depthwise ? 1 : c->channels);
    if (!lies_in(program, c->weight, weights, 1) ||
        !lies_in(program, c->bias, 4 * (int64_t)c->channels, 4))
        return 0;
    return has_feedback(program) ? lies_in(program, c->feedback, weights, 1) : 1;
}

static int follows(const dfe_conv *c, int32_t height, int32_t width, int32_t channels) {
    return c->height == height && c->width == width && c->in_channels == channels;
}

static int good_join(const dfe_program *program, const dfe_layer *layer) {
    const dfe_conv *c = dfe_convs(program, layer);
    dfe_shape out = dfe_output(program, layer);
    if (!dfe_within(layer->lift, 0, DFE_MAX_SHIFT) || !dfe_within(layer->skip_lift, 0, DFE_MAX_SHIFT) ||
        !dfe_within(layer->back_lift, 0, DFE_MAX_SHIFT) ||
        !dfe_within(layer->skip_back_lift, 0, DFE_MAX_SHIFT))
        return 0;
    int64_t passed = DFE_MAX, carried = DFE_MAX;
    if (layer->convs > dfe_chain(layer)) {
        const dfe_conv *s = c + dfe_chain(layer);
        if (!follows(s, c->height, c->width, c->in_channels) || dfe_taps(s) != 1 || s->depthwise ||
            s->top || s->bottom || s->left || s->right || s->channels != out.channels ||
            dfe_out_height(s) != out.height || dfe_out_width(s) != out.width)
            return 0;
        passed = (int64_t)s->in_channels * PEAK + DFE_BIAS_MAX;
        carried = (int64_t)s->channels * PEAK;
    } else if (!follows(c, out.height, out.width, out.channels)) {
        return 0;
    }
    if (dfe_ends(program, layer)->depthwise) return 0;
    int64_t inner = fan_in(dfe_ends(program, layer)) * PEAK + DFE_BIAS_MAX;
    int64_t back = fan_out(c) * PEAK;
    int64_t limit = INT32_LIMIT - (1 << 23);
    return inner * (1 << layer->lift) + passed * (1 << layer->skip_lift) <= limit &&
           back * (1 << layer->back_lift) + carried * (1 << layer->skip_back_lift) <= limit;
}

/* Cells a side that a map has room for. */
static int32_t most_cells(dfe_shape s) {
    if (s.height == 1 || s.width == 1) return dfe_max(s.height, s.width);
    return dfe_min(s.height, s.width);
}

static int good_goodness(const dfe_program *program, const dfe_layer *layer, int64_t *largest) {
    dfe_shape s = dfe_output(program, layer);
    if (program->form == DFE_LABEL_PLANE) {
        int64_t values = (int64_t)s.height * s.width * s.channels;
        *largest = values * PEAK >> ENERGY_SHIFT;
        return values * PEAK < INT32_LIMIT && dfe_within(layer->score_shift, 0, 20) &&
               dfe_within(layer->norm_shift, 0, DFE_MAX_SHIFT) && layer->norm_high >= 0 &&
               dfe_within(layer->margin, 0, 1 << 10);
    }
    if (!dfe_within(layer->cells, 1, most_cells(s)) ||
        !dfe_within(layer->gain, 0, MAX_GAIN) || !dfe_within(layer->score_shift, 0, DFE_MAX_SHIFT) ||
        !dfe_within(layer->margin, 0, 1 << 16) || !dfe_within(layer->pull, 0, MAX_PULL) ||
        layer->separation < 0)
        return 0;
    int64_t d = (int64_t)dfe_grid_side(s.height, layer->cells) *
                dfe_grid_side(s.width, layer->cells) * s.channels;
    int64_t cell = (int64_t)dfe_cell_side(s.height, layer->cells) *
                   dfe_cell_side(s.width, layer->cells);
    *largest = (PEAK * d) * (1 << layer->score_shift);
    return d <= MAX_AXIS && d * PEAK * (MARGIN_UNITS + layer->margin) <= INT32_LIMIT &&
           cell * (1 << layer->gain) <= MAX_CELL && *largest < -(int64_t)DFE_DEAD &&
           lies_in(program, layer->anchors, d * program->classes, 1);
}

static int good_layer(const dfe_program *program, const dfe_layer *layer, int64_t *largest) {
    const dfe_conv *c = dfe_convs(program, layer);
    int32_t chain = dfe_chain(layer);
    if ((layer->joined && !dfe_within(layer->joined, 2, DFE_CHAIN)) ||
        !dfe_within(layer->pool, 0, 1) || !dfe_within(layer->counted, 0, 1) ||
        !dfe_within(layer->mean, 0, 1) || chain > DFE_CHAIN || layer->convs < chain ||
        layer->convs > chain + (layer->joined > 0))
        return 0;
    if (layer->mean && (layer->pool || program->form != DFE_ONE_PASS)) return 0;
    for (int32_t j = 0; j < layer->convs; j++)
        if (!good_conv(program, c + j)) return 0;
    for (int32_t j = 1; j < chain; j++)
        if (!follows(c + j, dfe_out_height(c + j - 1), dfe_out_width(c + j - 1), c[j - 1].channels))
            return 0;
    if (layer->joined && !good_join(program, layer)) return 0;
    dfe_shape s = dfe_output(program, layer);
    if (layer->pool && s.height == 1 && s.width == 1) return 0;
    return good_goodness(program, layer, largest);
}

int dfe_check(const dfe_program *p) {
    if (p->abi != DFE_ABI) return DFE_BAD_ABI;
    int plane = p->form == DFE_LABEL_PLANE;
    if (!dfe_within(p->layers, 1, MAX_TABLE) || !dfe_within(p->convs, p->layers, MAX_TABLE) ||
        !dfe_within(p->classes, 1, MAX_AXIS) || !dfe_within(p->feedback, DFE_NONE, DFE_SIGN_CONCORDANT) ||
        !dfe_within(p->form, DFE_ONE_PASS, DFE_LABEL_PLANE) || !dfe_within(p->cut, 0, p->layers - 1) ||
        !dfe_within(p->negatives, 0, MAX_AXIS) || p->state_bytes < 0)
        return DFE_BAD_PROGRAM;
    if (plane && (p->feedback != DFE_NONE || p->cut || !p->negatives)) return DFE_BAD_PROGRAM;
    if (!lies_in(p, p->live, p->classes, 1) || !lies_in(p, p->phase, 4, 4) ||
        !lies_in(p, p->error, 4, 4) || !lies_in(p, p->usual_error, 4, 4) ||
        !lies_in(p, p->pace, 4, 4) ||
        !lies_in(p, p->weight_shift, p->convs, 1) ||
        (!plane && !lies_in(p, p->anchor_shift, p->layers, 1)))
        return DFE_BAD_PROGRAM;
    if (!dfe_good_trunk(p)) return DFE_BAD_PROGRAM;
    int64_t total = 0;
    int32_t next = 0, counted = 0;
    for (int32_t i = 0; i < p->layers; i++) {
        const dfe_layer *layer = dfe_layers(p) + i;
        int64_t largest;
        if (layer->first != next || layer->convs < 1 || layer->convs > p->convs - next)
            return DFE_BAD_PROGRAM;
        next += layer->convs;
        if (!good_layer(p, layer, &largest)) return DFE_BAD_PROGRAM;
        total += largest;
        counted += layer->counted;
        dfe_shape given = i ? dfe_handed(p, layer - 1) : dfe_value_shape(p, p->operations);
        int32_t planes = plane && i == 0 ? 2 : 0;
        if (!follows(dfe_convs(p, layer), given.height, given.width, given.channels + planes))
            return DFE_BAD_PROGRAM;
    }
    if (plane && !lies_in(p, p->planes, (int64_t)p->classes * p->height * p->width * 2, 1))
        return DFE_BAD_PROGRAM;
    return next == p->convs && counted && total < -(int64_t)DFE_DEAD ? DFE_OK : DFE_BAD_PROGRAM;
}

/* Correlations over a batch stay within int32 with their dither. */
static int good_batch(const dfe_program *p, int call, int32_t batch) {
    if (!dfe_within(batch, 1, 1 << 20)) return 0;
    if (call == DFE_INFER || call == DFE_FEATURES) return 1;
    int64_t copies = p->form == DFE_LABEL_PLANE ? 2 : 1; /* all others' errors are zero */
    for (int32_t i = 0; i < p->layers; i++) {
        const dfe_layer *layer = dfe_layers(p) + i;
        for (int32_t j = 0; j < layer->convs; j++) {
            const dfe_conv *c = dfe_convs(p, layer) + j;
            int64_t positions = copies * batch * dfe_out_height(c) * dfe_out_width(c);
            if (positions > (INT32_LIMIT - (1 << DFE_MAX_SHIFT)) / PEAK) return 0;
        }
    }
    return 1;
}

int dfe_plan_call(const dfe_program *program, int call, int32_t batch, dfe_memory *memory) {
    if (!dfe_within(call, DFE_INFER, DFE_FEATURES)) return DFE_BAD_CALL;
    if (call == DFE_TRAIN_FROM && program->cut == 0 && !program->operations) return DFE_BAD_CALL;
    if (call == DFE_FEATURES && program->form == DFE_LABEL_PLANE) return DFE_BAD_CALL;
    if (!good_batch(program, call, batch)) return DFE_BAD_BATCH;
    *memory = dfe_plan_memory(program, call, batch);
    return DFE_OK;
}

int64_t dfe_arena_bytes(const dfe_program *program, int call, int32_t batch) {
    dfe_memory memory;
    int status = dfe_check(program);
    if (status == DFE_OK) status = dfe_plan_call(program, call, batch, &memory);
    return status == DFE_OK ? memory.bytes : -status;
}

static int inside(const int8_t *v, int64_t n, int32_t low) {
    int32_t least = DFE_MAX;
    for (int64_t i = 0; i < n; i++) least = v[i] < least ? v[i] : least;
    return least >= low;
}

static int good_shifts(const int8_t *v, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        if (!dfe_within(v[i], 0, DFE_MAX_UPDATE_SHIFT)) return 0;
    return 1;
}

static int inside32(const int32_t *v, int64_t n, int32_t low, int32_t high) {
    for (int64_t i = 0; i < n; i++)
        if (!dfe_within(v[i], low, high)) return 0;
    return 1;
}

int dfe_check_state(const dfe_program *p, const void *state) {
    const int8_t *s = state;
    int status = dfe_check(p);
    if (status != DFE_OK) return status;
    if ((uintptr_t)state % DFE_ALIGN) return DFE_MISALIGNED;
#define WORDS(offset) ((const int32_t *)(const void *)(s + (offset)))
    int good = good_shifts(s + p->weight_shift, p->convs) &&
               inside32(WORDS(p->phase), 1, 0, DFE_DITHER_MASK) &&
               inside32(WORDS(p->error), 1, 0, 1 << DFE_ERROR_BITS) &&
               inside32(WORDS(p->usual_error), 1, 0, 1 << DFE_ERROR_BITS) &&
               inside32(WORDS(p->pace), 1, 0, DFE_MAX_PACE);
    for (int32_t k = 0; k < p->classes; k++) good = good && dfe_within(s[p->live + k], 0, 1);
    for (int32_t i = 0; good && i < p->layers; i++) {
        const dfe_layer *layer = dfe_layers(p) + i;
        for (int32_t j = 0; j < layer->convs; j++) {
            const dfe_conv *c = dfe_convs(p, layer) + j;
            good = good && inside(s + c->weight, dfe_weights(c), -DFE_MAX) &&
                   inside32(WORDS(c->bias), c->channels, -DFE_BIAS_MAX, DFE_BIAS_MAX) &&
                   (!has_feedback(p) || inside(s + c->feedback, dfe_weights(c), -DFE_MAX));
        }
        if (p->form == DFE_ONE_PASS)
            good = good &&
                   inside(s + layer->anchors, (int64_t)p->classes * dfe_feature_count(p, layer), 0);
    }
    if (p->form == DFE_ONE_PASS) {
        good = good && good_shifts(s + p->anchor_shift, p->layers);
    } else {
        const dfe_conv *first = dfe_convs(p, dfe_layers(p));
        good = good && inside(s + p->planes, (int64_t)p->classes * first->height * first->width * 2,
                              0);
    }
#undef WORDS
    return good ? DFE_OK : DFE_BAD_STATE;
}

int64_t dfe_input_values(const dfe_program *p, int call, int32_t batch) {
    dfe_shape s = call == DFE_TRAIN_FROM ? dfe_latent(p) : dfe_value_shape(p, 0);
    return (int64_t)batch * s.height * s.width * s.channels;
}

int dfe_check_call(const dfe_program *program, const void *state, int call, int32_t batch,
                   const int8_t *x, const int32_t *y, const void *arena, size_t arena_bytes,
                   dfe_memory *memory) {
    int status = dfe_plan_call(program, call, batch, memory);
    if (status != DFE_OK) return status;
    if ((uintptr_t)state % DFE_ALIGN || (uintptr_t)arena % DFE_ALIGN) return DFE_MISALIGNED;
    if (arena_bytes < (uint64_t)memory->bytes) return DFE_SMALL_ARENA;
    if (!inside(x, dfe_input_values(program, call, batch), 0)) return DFE_BAD_INPUT;
    return y && !inside32(y, batch, 0, program->classes - 1) ? DFE_BAD_LABEL : DFE_OK;
}
