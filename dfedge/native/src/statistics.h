/* Statistics of windows: dfedge/data/inputs/statistics.py has the definition. */
#ifndef DFE_STATISTICS_H
#define DFE_STATISTICS_H

#include "window.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DFE_STATISTICS = 6 };

/* x int8 [channels, DFE_STATISTICS] of raw int32 [length, channels].
   scales: of the readings, [channels]; each: of the statistics, as x; octave: see loudness.h. */
void dfe_statistics_input(const dfe_scale *scales, const dfe_scale *each, const int64_t *octave,
                          int32_t length, int32_t channels, const int32_t *raw, int8_t *x);

#ifdef __cplusplus
}
#endif

#endif
