#include "anchors.h"

#include "arithmetic.h"
#include "geometry.h"

enum { MARGIN_UNIT = 16, LEVELS = 8, LEVEL_STEP = 2 };

static int32_t nearness(const int8_t *p, const int8_t *a, int32_t d) {
    int32_t total = 0;
    for (int32_t f = 0; f < d; f++) total += a[f] * (2 * p[f] - a[f]);
    return total;
}

int32_t dfe_squared_distance(const int8_t *a, const int8_t *b, int32_t d) {
    int32_t total = 0;
    for (int32_t f = 0; f < d; f++) {
        int32_t apart = a[f] - b[f];
        total += apart * apart;
    }
    return total;
}

static void count(const dfe_layer *layer, int32_t score, int32_t *total) {
    if (layer->counted) *total += score * (1 << layer->score_shift);
}

void dfe_judge(const dfe_layer *layer, int32_t classes, int32_t d, const int8_t *p,
               const int8_t *anchors, int32_t *total) {
    if (!layer->counted) return;
    for (int32_t k = 0; k < classes; k++)
        count(layer, nearness(p, anchors + (ptrdiff_t)k * d, d), total + k);
}

dfe_verdict dfe_contrast(const dfe_layer *layer, int32_t classes, int32_t d, const int8_t *p,
                         const int8_t *anchors, int32_t y, const int8_t *live, int32_t *total) {
    dfe_verdict v = {y, 0, 0};
    int32_t best = DFE_DEAD, right = 0;
    for (int32_t k = 0; k < classes; k++) {
        int32_t score = nearness(p, anchors + (ptrdiff_t)k * d, d);
        count(layer, score, total + k);
        if (k == y) {
            right = score;
        } else if (live[k] && score > best) {
            best = score;
            v.rival = k;
        }
    }
    if (v.rival == y) return v; /* no other class is live */
    int32_t distance = dfe_squared_distance(anchors + (ptrdiff_t)v.rival * d,
                                            anchors + (ptrdiff_t)y * d, d);
    int32_t violation = MARGIN_UNIT * (best - right) + layer->margin * distance;
    for (int32_t j = 0; j < LEVELS; j++) v.level += violation > LEVEL_STEP * j * distance;
    v.repels = distance < layer->separation;
    return v;
}

/* e = clamp(level (A_k* - A_y + (p - A_y) / 2^pull)), rounded half away from zero. */
static int8_t error(const dfe_layer *layer, int32_t level, int32_t p, int32_t right, int32_t wrong) {
    int32_t e = level * ((wrong - right) * (1 << layer->pull) + p - right);
    return dfe_narrow(e, layer->pull);
}

/* A class's coefficient in one sample. */
static int32_t coefficient(const dfe_verdict *v, int32_t y, int32_t k) {
    return v->level * ((y == k) - (v->rival == k && v->repels));
}

/* Whether some sample before s already moved class k. */
static int moved_before(const dfe_verdict *v, const int32_t *y, int32_t s, int32_t k) {
    for (int32_t b = 0; b < s; b++)
        if (coefficient(v + b, y[b], k)) return 1;
    return 0;
}

/* A_k <- clamp(A_k + R(sum c (p - A_k), shift)) of n features from f on. */
static void move(const dfe_verdict *v, const int32_t *y, int32_t batch, int32_t d, const int8_t *p,
                 int8_t *a, int32_t k, int32_t f, int32_t n, int32_t shift, uint32_t phase) {
    int32_t sum[DFE_FEATURES_AT_ONCE] = {0};
    for (int32_t b = 0; b < batch; b++) {
        int32_t c = coefficient(v + b, y[b], k);
        if (c == 0) continue;
        for (int32_t i = 0; i < n; i++) sum[i] += c * (p[(ptrdiff_t)b * d + i] - a[i]);
    }
    for (int32_t i = 0; i < n; i++) {
        uint32_t place = phase + (uint32_t)k * DFE_LATTICE_1 + (uint32_t)(f + i) * DFE_LATTICE_2;
        a[i] = (int8_t)dfe_clamp(a[i] + dfe_round(sum[i], shift, place), 0, DFE_MAX);
    }
}

void dfe_settle(const dfe_layer *layer, int32_t batch, int32_t d, const int32_t *y,
                const dfe_verdict *verdict, int8_t *p, int8_t *anchors, int32_t shift,
                uint32_t phase, int8_t *scratch) {
    for (int32_t f = 0; f < d; f += DFE_FEATURES_AT_ONCE) {
        int32_t n = dfe_min(DFE_FEATURES_AT_ONCE, d - f);
        for (int32_t b = 0; b < batch; b++)
            for (int32_t i = 0; i < n; i++)
                scratch[b * DFE_FEATURES_AT_ONCE + i] =
                    error(layer, verdict[b].level, p[(ptrdiff_t)b * d + f + i],
                          anchors[(ptrdiff_t)y[b] * d + f + i],
                          anchors[(ptrdiff_t)verdict[b].rival * d + f + i]);
        for (int32_t b = 0; b < batch; b++) {
            int32_t classes[2] = {y[b], verdict[b].rival};
            for (int32_t i = 0; i < 2; i++) {
                int32_t k = classes[i];
                if (!coefficient(verdict + b, y[b], k) || moved_before(verdict, y, b, k)) continue;
                move(verdict, y, batch, d, p + f, anchors + (ptrdiff_t)k * d + f, k, f, n, shift,
                     phase);
            }
        }
        for (int32_t b = 0; b < batch; b++)
            for (int32_t i = 0; i < n; i++)
                p[(ptrdiff_t)b * d + f + i] = scratch[b * DFE_FEATURES_AT_ONCE + i];
    }
}
