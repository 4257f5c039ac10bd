#include "unit.h"

#include "convolve.h"
#include "geometry.h"
#include "update.h"

/* What the j-th convolution of a chain receives. */
static const int8_t *input(const dfe_frame *frame, const int8_t *x, int32_t j) {
    return j ? frame->inner[j - 1] : x;
}

void dfe_forward(const dfe_run *run, const dfe_layer *layer, int32_t samples, const int8_t *x,
                 const dfe_frame *frame) {
    const dfe_conv *c = dfe_convs(run->program, layer);
    int32_t chain = dfe_chain(layer), last = chain - 1;
    for (int32_t j = 0; j < last; j++)
        dfe_conv_relu(c + j, samples, input(frame, x, j), dfe_bytes(run, c[j].weight),
                      dfe_words(run, c[j].bias), frame->inner[j]);
    dfe_skip skip = {x, NULL, NULL, NULL, layer->lift, layer->skip_lift};
    if (layer->convs > chain) {
        skip.conv = c + chain;
        skip.w = dfe_bytes(run, c[chain].weight);
        skip.b = dfe_words(run, c[chain].bias);
    }
    dfe_conv_join(c + last, samples, input(frame, x, last), dfe_bytes(run, c[last].weight),
                  dfe_words(run, c[last].bias), layer->joined ? &skip : NULL, frame->h);
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
static dfe_error inside(const dfe_run *run, const dfe_conv *c, int32_t j, int32_t samples,
                        const dfe_frame *frame, const dfe_error *error) {
    dfe_back back = back_of(run, c + j, error);
    dfe_carry_inside(&back, samples, frame->inner[j - 1], frame->map[j - 1]);
    dfe_error below = {DFE_MAP, frame->map[j - 1], NULL, error->acts,
                       dfe_out_height(c + j - 1), dfe_out_width(c + j - 1), c[j - 1].channels, 0};
    return below;
}

static void move_conv(const dfe_run *run, const dfe_conv *c, int32_t number, int32_t samples,
                      const int8_t *x, const dfe_error *error) {
    dfe_conv_update(c, samples, x, error, dfe_bytes(run, c->weight),
                    dfe_rate(run, run->program->weight_shift, number), run->phase);
}

void dfe_move(const dfe_run *run, const dfe_layer *layer, int32_t samples, const int8_t *x,
              const dfe_frame *frame, const dfe_error *error) {
    const dfe_conv *c = dfe_convs(run->program, layer);
    int32_t chain = dfe_chain(layer);
    dfe_error at = *error;
    for (int32_t j = chain - 1; j >= 0; j--) { /* an error goes down before its weights move */
        dfe_error below = j ? inside(run, c, j, samples, frame, &at) : at;
        move_conv(run, c + j, layer->first + j, samples, input(frame, x, j), &at);
        at = below;
    }
    if (layer->convs > chain)
        move_conv(run, c + chain, layer->first + chain, samples, x, error);
}

void dfe_down(const dfe_run *run, const dfe_layer *layer, int32_t samples, const dfe_frame *frame,
              const dfe_error *error, const dfe_layer *under, dfe_error *below, int8_t *map) {
    const dfe_conv *c = dfe_convs(run->program, layer);
    int32_t chain = dfe_chain(layer);
    dfe_error first = *error;
    for (int32_t j = chain - 1; j > 0; j--) first = inside(run, c, j, samples, frame, &first);
    dfe_unit_back unit = {back_of(run, c, &first), {NULL, NULL, NULL, error},
                          layer->joined, layer->back_lift, layer->skip_back_lift};
    if (layer->convs > chain) unit.skip = back_of(run, c + chain, error);
    if (under->mean) {
        dfe_carry_means(&unit, samples, below, map);
    } else {
        dfe_carry_below(&unit, samples, below, under->pool, map);
        below->kind = DFE_MAP;
    }
    below->values = map;
    below->acts = NULL;
}
