#include "statistics.h"

#include "loudness.h"

/* floor(value / by + 1/2), of by > 0. */
static int64_t rounded(int64_t value, int64_t by) {
    int64_t up = 2 * value + by, whole = up / (2 * by);
    return whole - (whole * 2 * by > up);
}

static void measure(const dfe_scale *scale, const int64_t *octave, int32_t length, int32_t channels,
                    const int32_t *raw, int64_t *found) {
    int64_t sum = 0, squares = 0, away = 0;
    int32_t least = INT16_MAX, most = INT16_MIN, crossings = 0, above = 0;
    for (int32_t t = 0; t < length; t++) {
        int32_t level = dfe_levelled(scale, raw[t * channels]);
        sum += level;
        squares += (int64_t)level * level;
        if (level < least) least = level;
        if (level > most) most = level;
    }
    for (int32_t t = 0; t < length; t++) {
        int64_t from = (int64_t)length * dfe_levelled(scale, raw[t * channels]) - sum;
        crossings += t && (from >= 0) != above;
        above = from >= 0;
        away += from < 0 ? -from : from;
    }
    found[0] = rounded(sum, length);
    found[1] = rounded(away, (int64_t)length * length);
    found[2] = least;
    found[3] = most;
    found[4] = dfe_loudness(octave, length * squares - sum * sum);
    found[5] = crossings;
}

void dfe_statistics_input(const dfe_scale *scales, const dfe_scale *each, const int64_t *octave,
                          int32_t length, int32_t channels, const int32_t *raw, int8_t *x) {
    int64_t found[DFE_STATISTICS];
    for (int32_t c = 0; c < channels; c++) {
        measure(&scales[c], octave, length, channels, raw + c, found);
        for (int32_t s = 0; s < DFE_STATISTICS; s++)
            *x++ = dfe_coded(each++, found[s]);
    }
}
