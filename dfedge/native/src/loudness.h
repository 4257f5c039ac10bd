/* The loudness of an energy: dfedge/data/loudness.py has the definition. */
#ifndef DFE_LOUDNESS_H
#define DFE_LOUDNESS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DFE_OCTAVE_STEPS = 8 };

/* How many thresholds an energy below 2^62 reaches; octave: those of the last octave,
   floor(2^(61 + r/8)). */
int32_t dfe_loudness(const int64_t *octave, int64_t energy);

#ifdef __cplusplus
}
#endif

#endif
