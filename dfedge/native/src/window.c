#include "window.h"

enum { LARGEST_CODE = 255 };

void dfe_window_input(const dfe_scale *scales, int32_t length, int32_t channels,
                      const int32_t *raw, int8_t *x) {
    for (int32_t t = 0; t < length; t++)
        for (int32_t c = 0; c < channels; c++) {
            int64_t code = (int64_t)*raw++ * scales[c].multiplier + scales[c].offset;
            code = code < 0 ? 0 : code >> scales[c].shift;
            *x++ = (int8_t)((code > LARGEST_CODE ? LARGEST_CODE : code) >> 1);
        }
}
