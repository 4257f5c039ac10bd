#include "normal.h"

#include "anchors.h"
#include "arithmetic.h"
#include "memory.h"

static const int8_t *row(const void *state, const dfe_layer *layer, int32_t k, int32_t d) {
    return (const int8_t *)state + layer->anchors + (ptrdiff_t)k * d;
}

/* From what is seen, or where that is NULL from where the mode was at first, to mode k. */
static int64_t distance_to(const dfe_program *program, const void *state, int32_t k,
                           const int8_t *seen, const void *first) {
    int64_t total = 0;
    for (int32_t i = 0; i < program->layers; i++) {
        const dfe_layer *layer = dfe_layers(program) + i;
        int32_t d = dfe_feature_count(program, layer);
        const int8_t *from = seen ? seen : row(first, layer, k, d);
        if (layer->counted)
            total += dfe_squared_distance(from, row(state, layer, k, d), d) *
                     ((int64_t)1 << layer->score_shift);
        if (seen) seen += d;
    }
    return total;
}

int64_t dfe_distance(const dfe_program *program, const void *state, const int8_t *seen,
                     int32_t *mode) {
    const int8_t *live = (const int8_t *)state + program->live;
    int64_t least = -1;
    for (int32_t k = 0; k < program->classes; k++) {
        if (!live[k]) continue;
        int64_t found = distance_to(program, state, k, seen, NULL);
        if (least >= 0 && found >= least) continue;
        least = found;
        if (mode) *mode = k;
    }
    return least;
}

int dfe_follow(const dfe_program *program, const dfe_normal *normal, void *state, const void *first,
               const int8_t *seen) {
    int32_t mode = 0;
    int64_t far = dfe_distance(program, state, seen, &mode);
    if (far < 0 || far > normal->threshold) return 0;
    if (distance_to(program, state, mode, NULL, first) > normal->reach) return 0;
    int32_t *phase = (int32_t *)(void *)((uint8_t *)state + program->phase);
    for (int32_t i = 0; i < program->layers; i++) {
        const dfe_layer *layer = dfe_layers(program) + i;
        int32_t d = dfe_feature_count(program, layer);
        int8_t *a = (int8_t *)state + layer->anchors + (ptrdiff_t)mode * d;
        uint32_t place = (uint32_t)*phase + (uint32_t)mode * DFE_LATTICE_1;
        for (int32_t f = 0; layer->counted && f < d; f++, place += DFE_LATTICE_2)
            a[f] = (int8_t)dfe_clamp(a[f] + dfe_round(seen[f] - a[f], normal->rate, place), 0, DFE_MAX);
        seen += d;
    }
    *phase = (int32_t)(((uint32_t)*phase + DFE_GOLDEN) & DFE_DITHER_MASK);
    return 1;
}
