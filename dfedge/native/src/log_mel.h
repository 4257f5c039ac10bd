/* Sound to what a net takes: dfedge/data/logmel.py has the definition. */
#ifndef DFE_LOG_MEL_H
#define DFE_LOG_MEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DFE_MOST_FRAME = 320, DFE_MOST_MELS = 32 };

/* A bin of the spectrum lies in the triangles `first` and `first` + 1, with these weights. */
typedef struct {
    int16_t first, falling, rising;
} dfe_mel;

/* Sizes of at most the above, and the only tables: see loudness.h; a period and a quarter of
   round(2^29 cos), of which every windowed wave is a product, [5 / 4 frame]; the bins,
   [frame / 2 + 1]. */
typedef struct {
    const int64_t *octave;
    const int32_t *cosines;
    const dfe_mel *bins;
    int32_t frame, frames, mels;
} dfe_log_mel;

/* x int8 [frames, mels] of an utterance at 8 kHz: its middle, a shorter one between silences.
   Needs 2 KB of stack. */
void dfe_log_mel_input(const dfe_log_mel *tables, const int16_t *sound, int32_t length, int8_t *x);

#ifdef __cplusplus
}
#endif

#endif
