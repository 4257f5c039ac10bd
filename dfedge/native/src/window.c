#include "window.h"

enum { LARGEST_CODE = 255, LEVEL_BITS = 5, MIDDLE = 128 << LEVEL_BITS, LEVELS = 1 << 16 };

/* Codes below the range's first one down to the least level: what is shifted is lifted above 0. */
enum { LIFT = (LEVELS / 2 - MIDDLE) >> LEVEL_BITS };

int8_t dfe_coded(const dfe_scale *scale, int64_t raw) {
    int64_t code = raw * scale->multiplier + scale->offset;
    code = code < 0 ? 0 : code >> scale->shift;
    return (int8_t)((code > LARGEST_CODE ? LARGEST_CODE : code) >> 1);
}

int16_t dfe_levelled(const dfe_scale *scale, int32_t raw) {
    int64_t level = (int64_t)raw * scale->multiplier + scale->offset;
    level += (int64_t)LIFT << scale->shift;
    if (level < 0) level = 0;
    int32_t up = LEVEL_BITS - scale->shift;
    level = up > 0 ? level << up : level >> -up;
    return (int16_t)((level < LEVELS ? level : LEVELS - 1) - LEVELS / 2);
}

void dfe_window_input(const dfe_scale *scales, int32_t length, int32_t channels,
                      const int32_t *raw, int8_t *x) {
    for (int32_t t = 0; t < length; t++)
        for (int32_t c = 0; c < channels; c++) *x++ = dfe_coded(&scales[c], *raw++);
}
