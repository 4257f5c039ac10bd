#include "answer.h"

int32_t dfe_nearest(const int32_t *scores, int32_t classes, int64_t *margin) {
    int32_t best = 0, next = -1;
    for (int32_t k = 1; k < classes; k++) {
        if (scores[k] > scores[best]) {
            next = best;
            best = k;
        } else if (next < 0 || scores[k] > scores[next]) {
            next = k;
        }
    }
    *margin = next < 0 ? 0 : (int64_t)scores[best] - scores[next];
    return best;
}
