#include "care.h"
#include "geometry.h"
#include "memory.h"

/* Rounded to nearest, halves upward. */
static void between(int8_t *now, const int8_t *good, ptrdiff_t n, int32_t kept, int32_t of) {
    for (ptrdiff_t i = 0; i < n; i++) {
        int32_t twice = 2 * kept * (now[i] - good[i]) + of;
        now[i] = (int8_t)(good[i] + twice / (2 * of) - (twice % (2 * of) < 0));
    }
}

void dfe_part_way(const dfe_program *program, void *state, const void *good, int32_t kept,
                  int32_t of) {
    int8_t *now = state;
    const int8_t *to = good;
    for (int32_t i = 0; i < program->layers; i++) {
        const dfe_layer *layer = dfe_layers(program) + i;
        for (int32_t j = 0; j < layer->convs; j++) {
            const dfe_conv *c = dfe_convs(program, layer) + j;
            between(now + c->weight, to + c->weight, dfe_weights(c), kept, of);
        }
        if (program->form == DFE_ONE_PASS)
            between(now + layer->anchors, to + layer->anchors,
                    (ptrdiff_t)program->classes * dfe_feature_count(program, layer), kept, of);
    }
}
