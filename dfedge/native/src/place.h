/* Where the anchors of a new class come to stand among those of the others, and what that costs:
 * dfedge/continual/placing.py. */
#ifndef DFE_PLACE_H
#define DFE_PLACE_H

#include "new_class.h"

enum { DFE_SHARE = 16 }; /* bits of a sample's weight */

typedef struct {
    int64_t lead;     /* among the bundle's own classes; 0: it is a sample of another one */
    int32_t y, share; /* its row, its weight */
} dfe_placed;

/* Samples in a row: the new ones, the known, then those that judge. */
typedef struct {
    const dfe_new_class *given;
    dfe_placed *samples;
    int32_t count, all; /* without those that judge, with them */
    int every;          /* the anchors of all live classes move, not the new row's alone */
    int64_t *scores;    /* [classes] */
    /* [count, classes]: scores of rows that stay; of those that move what they are to a sample, in
     * UNIT + SHARE bits */
    int64_t *g;
    int16_t *fine;   /* [classes, seen], anchors with FRACTION bits below the integer */
    int8_t *seen;    /* [all, seen] */
    int8_t *says;    /* [seen], whether the layer has a say */
    int32_t width;   /* seen */
} dfe_placing;

static inline int8_t *dfe_anchors_of(const dfe_new_class *given, const dfe_layer *layer) {
    return (int8_t *)given->state + layer->anchors;
}

static inline int dfe_lives(const dfe_new_class *given, int32_t k) {
    return ((const int8_t *)given->state)[given->program->live + k] != 0;
}

/* Of what is seen of the samples of the new class in one place, or of those of all others. */
int64_t dfe_sum_of(const dfe_placing *p, int32_t j, int is_new);

/* Move the anchors of the state on from where they stand. */
void dfe_place(dfe_placing *p);

#endif
