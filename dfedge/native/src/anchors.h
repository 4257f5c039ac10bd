/* Goodness as the distance to anchors: scores, the margin's violation, the anchors' move. */
#ifndef DFE_ANCHORS_H
#define DFE_ANCHORS_H

#include "dfedge.h"

/* What the margin loss says of one sample. */
typedef struct {
    int32_t rival; /* the nearest live wrong class */
    int32_t level; /* 0 to 8: how far the margin is violated */
    int32_t repels;
} dfe_verdict;

/* score_k = 2 p.A_k - |A_k|^2, shifted left and added to the totals where the layer counts. */
void dfe_judge(const dfe_layer *layer, int32_t classes, int32_t d, const int8_t *p,
               const int8_t *anchors, int32_t *total);

/* The same, with the violation of label y's margin. */
dfe_verdict dfe_contrast(const dfe_layer *layer, int32_t classes, int32_t d, const int8_t *p,
                         const int8_t *anchors, int32_t y, const int8_t *live, int32_t *total);

/* |a - b|^2 of two rows of d features. */
int32_t dfe_squared_distance(const int8_t *a, const int8_t *b, int32_t d);

/* Features that are settled together: the scratch of `dfe_settle` is so many bytes a sample. */
enum { DFE_FEATURES_AT_ONCE = 16 };

/* Turn pooled features p int8 [B, d] into their error, in place, and move the anchors: the error
 * needs the old anchors and the anchors need p, so both go feature by feature. */
void dfe_settle(const dfe_layer *layer, int32_t batch, int32_t d, const int32_t *y,
                const dfe_verdict *verdict, int8_t *p, int8_t *anchors, int32_t shift,
                uint32_t phase, int8_t *scratch);

#endif
