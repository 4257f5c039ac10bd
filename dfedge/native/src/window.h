/* Readings of sensors to what a net takes: dfedge/data/inputs/window.py has the rule, and
   dfedge/data/inputs/scale.py what becomes of one reading. */
#ifndef DFE_WINDOW_H
#define DFE_WINDOW_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One channel: code = (raw * multiplier + offset) >> shift, kept in 0..255; a net takes half of it. */
typedef struct {
    int64_t offset;
    int32_t multiplier, shift;
} dfe_scale;

/* Half a code. */
int8_t dfe_coded(const dfe_scale *scale, int64_t raw);

/* 1/32 of a code, from the middle of the range. */
int16_t dfe_levelled(const dfe_scale *scale, int32_t raw);

/* x int8 [length, channels] of raw int32 [length, channels]. */
void dfe_window_input(const dfe_scale *scales, int32_t length, int32_t channels,
                      const int32_t *raw, int8_t *x);

#ifdef __cplusplus
}
#endif

#endif
