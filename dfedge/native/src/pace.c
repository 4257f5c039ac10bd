#include "pace.h"

#include "arithmetic.h"

enum { HORIZON_LOG = 8, FULL = 4 };

int32_t dfe_slowing(int32_t excess, int32_t pace) {
    int32_t below = 0;
    for (int32_t j = 0; j < DFE_MAX_PACE; j++) below += 1 << (DFE_ERROR_BITS - FULL - j) > excess;
    return below < pace ? below : pace;
}

/* log2 to the nearest integer: the fraction is a half or more where n^2 >= 2^(2 floor + 1). */
static int32_t rounded_log(int32_t n) {
    int32_t log = 0;
    while (n >> (log + 1)) log++;
    return log + ((int64_t)n * n >= INT64_C(1) << (2 * log + 1));
}

int32_t dfe_error_after(int32_t error, int32_t batch, int32_t classes, const int32_t *scores,
                        const int32_t *y) {
    int32_t wrong = 0, horizon = HORIZON_LOG - rounded_log(batch);
    int32_t k = horizon > 0 ? horizon : 0;
    for (int32_t b = 0; b < batch; b++, scores += classes) {
        int32_t best = DFE_DEAD;
        for (int32_t c = 0; c < classes; c++)
            if (c != y[b] && scores[c] > best) best = scores[c];
        wrong += scores[y[b]] <= best;
    }
    return error - (error >> k) + wrong * ((1 << (DFE_ERROR_BITS - k)) / batch);
}
