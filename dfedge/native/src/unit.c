#include "unit.h"

#include "convolve.h"
#include "geometry.h"
#include "update.h"

/* What the j-th convolution of a chain receives. */
static const int8_t *input(const dfe_frame *frame, const int8_t *x, int32_t j) {
    return j ? frame->inner[j - 1] : x;
}

/* The part from `next` on, of n, and whether it is the last. */
static int part(const dfe_run *run, int32_t most, int32_t n, int32_t *next, dfe_span *some) {
    *some = dfe_slice(*next, run->sliced ? most : n, n);
    *next = some->end < n ? some->end : 0;
    return some->end == n;
}

int dfe_forward(const dfe_run *run, const dfe_layer *layer, int32_t samples, const int8_t *x,
                const dfe_frame *frame, dfe_place *at) {
    const dfe_conv *c = dfe_convs(run->program, layer);
    int32_t chain = dfe_chain(layer), j = at->conv, last = j == chain - 1;
    dfe_skip skip = {x, NULL, NULL, NULL, layer->lift, layer->skip_lift};
    if (layer->convs > chain) {
        skip.conv = c + chain;
        skip.w = dfe_bytes(run, c[chain].weight);
        skip.b = dfe_words(run, c[chain].bias);
    }
    dfe_span some;
    int done = part(run, dfe_conv_slice(c + j, 1, samples), c[j].channels, &at->next, &some);
    dfe_conv_join_some(c + j, samples, input(frame, x, j), dfe_bytes(run, c[j].weight),
                       dfe_words(run, c[j].bias), last && layer->joined ? &skip : NULL,
                       last ? frame->h : frame->inner[j], some);
    at->conv += done;
    return done && last;
}

/* What an error goes down through: the weights, or what stands for them. */
static dfe_back back_of(const dfe_run *run, const dfe_conv *c, const dfe_error *error) {
    dfe_back back = {c, dfe_bytes(run, c->weight), NULL, error};
    if (run->program->feedback >= DFE_FIXED) {
        if (run->program->feedback == DFE_SIGN_CONCORDANT) back.signs = back.w;
        back.w = dfe_bytes(run, c->feedback);
    }
    return back;
}

/* The error at the output of the convolution below the j-th, carried inside to a map. */
static int inside(const dfe_run *run, const dfe_conv *c, int32_t samples, const dfe_frame *frame,
                  dfe_moving *m) {
    int32_t j = m->place.conv;
    dfe_back back = back_of(run, c + j, &m->at);
    dfe_error below = {DFE_MAP, frame->map[j - 1], NULL, m->at.acts, dfe_out_height(c + j - 1),
                       dfe_out_width(c + j - 1), c[j - 1].channels, 0};
    dfe_span rows;
    int done = part(run, 1, samples * c[j].height, &m->place.next, &rows);
    dfe_carry_inside_some(&back, frame->inner[j - 1], frame->map[j - 1], rows);
    m->below = below;
    return done;
}

dfe_moving dfe_begin_moving(const dfe_layer *layer, const dfe_error *error) {
    dfe_moving m = {*error, *error, *error, {dfe_chain(layer) - 1, 0}, 0};
    return m;
}

/* Last of all, below the chain, the convolution of what is skipped. */
int dfe_move(const dfe_run *run, const dfe_layer *layer, int32_t samples, const int8_t *x,
             const dfe_frame *frame, dfe_moving *m) {
    const dfe_conv *c = dfe_convs(run->program, layer);
    int32_t chain = dfe_chain(layer), j = m->place.conv, skips = layer->convs > chain;
    if (j > 0 && !m->carried) { /* an error goes down before its weights move */
        m->carried = inside(run, c, samples, frame, m);
        return 0;
    }
    int32_t number = j < 0 ? chain : j;
    dfe_span strips;
    int done = part(run, 1, dfe_strips(c + number), &m->place.next, &strips);
    dfe_conv_update_some(c + number, samples, j < 0 ? x : input(frame, x, j),
                         j < 0 ? &m->own : &m->at, dfe_bytes(run, c[number].weight),
                         dfe_rate(run, run->program->weight_shift, layer->first + number),
                         run->phase, strips);
    if (!done) return 0;
    m->at = m->below;
    m->carried = 0;
    m->place.conv--;
    return j < 1 - skips;
}

int dfe_down(const dfe_run *run, const dfe_layer *layer, int32_t samples, const dfe_frame *frame,
             const dfe_layer *under, dfe_error *below, int8_t *map, dfe_moving *m) {
    const dfe_conv *c = dfe_convs(run->program, layer);
    if (m->place.conv > 0) {
        if (!inside(run, c, samples, frame, m)) return 0;
        m->at = m->below;
        m->place.conv--;
        return 0;
    }
    dfe_unit_back unit = {back_of(run, c, &m->at), {NULL, NULL, NULL, &m->own},
                          layer->joined, layer->back_lift, layer->skip_back_lift};
    if (layer->convs > dfe_chain(layer)) unit.skip = back_of(run, c + dfe_chain(layer), &m->own);
    if (under->mean) {
        dfe_carry_means(&unit, samples, below, map);
    } else {
        dfe_span rows;
        int done = part(run, 1, samples * dfe_rows_below(below, under->pool), &m->place.next, &rows);
        dfe_carry_below_some(&unit, below, under->pool, map, rows);
        if (!done) return 0;
        below->kind = DFE_MAP;
    }
    below->values = map;
    below->acts = NULL;
    return 1;
}
