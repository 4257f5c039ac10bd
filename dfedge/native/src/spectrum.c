#include "spectrum.h"

#include "loudness.h"

/* Shifts of negative numbers are the compiler's affair: what is shifted is lifted above 0. */
#define SHIFT 14
#define LIFT ((int64_t)1 << 44)

typedef struct {
    int64_t real, imaginary;
} bin;

/* X_k. */
static bin transform(const dfe_spectrum *rule, int32_t k) {
    bin found = {0, 0};
    for (int32_t n = 0, angle = 0; k && n < rule->length; n++) {
        found.real += rule->cosines[angle] * (int32_t)rule->levels[n];
        found.imaginary += rule->sines[angle] * (int32_t)rule->levels[n];
        angle = angle + k < rule->length ? angle + k : angle + k - rule->length;
    }
    return found;
}

static int64_t squared(int64_t before, int64_t here, int64_t after) {
    int64_t value = ((2 * here - before - after + LIFT) >> SHIFT) - (LIFT >> SHIFT);
    return value * value;
}

static int64_t power(bin before, bin here, bin after) {
    return squared(before.real, here.real, after.real) +
           squared(before.imaginary, here.imaginary, after.imaginary);
}

void dfe_spectrum_input(const dfe_spectrum *rule, const int32_t *raw, int8_t *x) {
    for (int32_t c = 0; c < rule->channels; c++) {
        for (int32_t t = 0; t < rule->length; t++)
            rule->levels[t] = dfe_levelled(&rule->scales[c], raw[t * rule->channels + c]);
        bin before = transform(rule, 0), here = transform(rule, 1);
        for (int32_t b = 0; b < rule->bands; b++) {
            int64_t energy = 0;
            for (int32_t k = rule->edges[b]; k < rule->edges[b + 1]; k++) {
                bin after = transform(rule, k + 1);
                energy += power(before, here, after);
                before = here;
                here = after;
            }
            x[b * rule->channels + c] =
                dfe_coded(&rule->loud[c], dfe_loudness(rule->octave, energy));
        }
    }
}
