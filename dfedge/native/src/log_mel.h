/* Sound to what a net takes: dfedge/data/logmel.py has the definition. */
#ifndef DFE_LOG_MEL_H
#define DFE_LOG_MEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DFE_SOUND_FRAME = 256, DFE_SOUND_BINS = 129, DFE_SOUND_STEPS = 8 };

/* A bin of the spectrum lies in the triangles `first` and `first` + 1, with these weights. */
typedef struct {
    int16_t first, falling, rising;
} dfe_mel;

/* The only tables, 1,862 bytes in all: one period of round(2^29 cos), of which every windowed
   wave is a product; the loudness's thresholds in the last octave, floor(2^(61 + r/8)). */
typedef struct {
    int64_t octave[DFE_SOUND_STEPS];
    int32_t cosines[DFE_SOUND_FRAME];
    dfe_mel mels[DFE_SOUND_BINS];
} dfe_log_mel;

/* x int8 [32, 32] of an utterance at 8 kHz: its middle 0.65 s, a shorter one between silences.
   Needs 1.6 KB of stack. */
void dfe_log_mel_input(const dfe_log_mel *tables, const int16_t *sound, int32_t length, int8_t *x);

#ifdef __cplusplus
}
#endif

#endif
