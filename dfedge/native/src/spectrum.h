/* Spectral power of windows: dfedge/data/inputs/spectrum.py has the definition. */
#ifndef DFE_SPECTRUM_H
#define DFE_SPECTRUM_H

#include "window.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of the channels' readings, and of their loudness; see loudness.h; one period of round(2^14 cos)
   and of the sine, [length]; the bands' edges, [bands + 1]; room for one channel, [length]. */
typedef struct {
    const dfe_scale *scales, *loud;
    const int64_t *octave;
    const int16_t *cosines, *sines, *edges;
    int16_t *levels;
    int32_t length, channels, bands;
} dfe_spectrum;

/* x int8 [bands, channels] of raw int32 [length, channels]. */
void dfe_spectrum_input(const dfe_spectrum *rule, const int32_t *raw, int8_t *x);

#ifdef __cplusplus
}
#endif

#endif
