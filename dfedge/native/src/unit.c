#include "unit.h"

#include "convolve.h"
#include "geometry.h"
#include "update.h"

void dfe_forward(const dfe_run *run, const dfe_layer *layer, int32_t samples, const int8_t *x,
                 const dfe_frame *frame) {
    const dfe_conv *c = dfe_convs(run->program, layer);
    const dfe_conv *end = dfe_ends(run->program, layer);
    if (end != c) {
        dfe_conv_relu(c, samples, x, dfe_bytes(run, c->weight), dfe_words(run, c->bias),
                      frame->inner);
    }
    dfe_skip skip = {x, NULL, NULL, NULL, layer->lift, layer->skip_lift};
    if (layer->convs == 3) {
        skip.conv = c + 2;
        skip.w = dfe_bytes(run, c[2].weight);
        skip.b = dfe_words(run, c[2].bias);
    }
    dfe_conv_join(end, samples, end == c ? x : frame->inner, dfe_bytes(run, end->weight),
                  dfe_words(run, end->bias), layer->joined ? &skip : NULL, frame->h);
}

/* What an error goes down through: the weights, or what stands for them. */
static dfe_back back_of(const dfe_run *run, const dfe_conv *c, const dfe_error *error) {
    dfe_back back = {c, dfe_bytes(run, c->weight), NULL, error};
    if (run->program->rule == DFE_DF_R || run->program->rule == DFE_DF_R_CONCORDANT) {
        if (run->program->rule == DFE_DF_R_CONCORDANT) back.signs = back.w;
        back.w = dfe_bytes(run, c->feedback);
    }
    return back;
}

/* The error at the first convolution's output: the unit's own, or carried inside to a map. */
static dfe_error at_first(const dfe_run *run, const dfe_layer *layer, int32_t samples,
                          const dfe_frame *frame, const dfe_error *error) {
    const dfe_conv *c = dfe_convs(run->program, layer);
    if (layer->convs == 1) return *error;
    dfe_back back = back_of(run, c + 1, error);
    dfe_carry_inside(&back, samples, frame->inner, frame->inner_map);
    dfe_error inner = {DFE_MAP, frame->inner_map, NULL, error->acts,
                       dfe_out_height(c), dfe_out_width(c), c->channels, 0};
    return inner;
}

static void move_conv(const dfe_run *run, const dfe_conv *c, int32_t number, int32_t samples,
                      const int8_t *x, const dfe_error *error) {
    const dfe_program *p = run->program;
    dfe_conv_update(c, samples, x, error, dfe_bytes(run, c->weight),
                    dfe_rate(run, p->weight_shift, number, run->slowing), run->phase);
    dfe_bias_update(error, samples, dfe_words(run, c->bias), 
                    dfe_rate(run, p->bias_shift, number, 0), run->phase);
}

void dfe_move(const dfe_run *run, const dfe_layer *layer, int32_t samples, const int8_t *x,
              const dfe_frame *frame, const dfe_error *error) {
    const dfe_conv *c = dfe_convs(run->program, layer);
    dfe_error first = at_first(run, layer, samples, frame, error); /* before any weight moves */
    move_conv(run, c, layer->first, samples, x, &first);
    if (layer->convs > 1) move_conv(run, c + 1, layer->first + 1, samples, frame->inner, error);
    if (layer->convs > 2) move_conv(run, c + 2, layer->first + 2, samples, x, error);
}

void dfe_down(const dfe_run *run, const dfe_layer *layer, int32_t samples, const dfe_frame *frame,
              const dfe_error *error, const dfe_error *below, int32_t pool, int8_t *map) {
    const dfe_conv *c = dfe_convs(run->program, layer);
    dfe_error first = at_first(run, layer, samples, frame, error);
    dfe_unit_back unit = {back_of(run, c, &first), {NULL, NULL, NULL, error},
                          layer->joined, layer->back_lift, layer->skip_back_lift};
    if (layer->convs > 2) unit.skip = back_of(run, c + 2, error);
    dfe_carry_below(&unit, samples, below, pool, map);
}
