#include "loudness.h"

enum { LAST_OCTAVE = 61 };

int32_t dfe_loudness(const int64_t *octave, int64_t energy) {
    if (!energy) return 0;
    int32_t whole = 0;
    while (whole < LAST_OCTAVE && energy >> (whole + 1)) whole++;
    int32_t count = whole * DFE_OCTAVE_STEPS;
    for (int32_t r = 0; r < DFE_OCTAVE_STEPS; r++)
        count += octave[r] >> (LAST_OCTAVE - whole) <= energy;
    return count;
}
