/* Learning that does no harm, one sample at a time: the rule of dfedge/device/care.py.
 *
 * For each new sample one that the net knows is learned.  Learning goes by periods, of 512
 * presentations at first and of up to 2,048 later, in which rates are halved at a half, three quarters
 * and seven eighths.  At its end the state is judged: where too little of what was known is still
 * recognised, or of what is new, a part of the period's change is taken back, or all of it.  A period
 * is over as well where a quarter of what is replayed is not recognised any more.  `usual_error`
 * follows what the state misjudges of what was known.
 *
 * What differs from Python: every sample is a step of its own, known samples are replayed in another
 * order, and of the new some that were learned judge, not samples that were held back.  The same rule
 * then, but not the same bytes.
 *
 * Beside state and arena it takes
 *     RAM    state_bytes for the last good state; (classes + layers) words, a bit for each sample
 *            to judge by; perhaps recent samples
 *     flash  the known samples: about 1 byte a value
 *     time   as many dfe_infer as there are known samples, and recent ones twice, at a period's
 *            end; up to five times as many where it takes something back
 */
#ifndef DFE_CARE_H
#define DFE_CARE_H

#include "dfedge.h"

#ifdef __cplusplus
extern "C" {
#endif

/* x int8 [count, H, W, C], y their rows; may lie in flash. */
typedef struct {
    const int8_t *x;
    const int32_t *y;
    int32_t count;
} dfe_samples;

/* All zero but for what the caller sets. */
typedef struct {
    const dfe_program *program;
    void *state; /* what learns; not to be stored before dfe_care_end has judged it */
    void *good;  /* state_bytes, aligned as the state: the last state that was judged good */
    /* Where `good` lies in flash: copies the state there after every judgement; a dfe_status.  NULL:
     * it lies in RAM. */
    int (*keep)(void *good, const void *state, int32_t bytes);
    /* The state that was exported: what it recognises is what must stay, however often the power
     * goes.  NULL, or where classes were added since: what `state` recognises at the beginning. */
    const void *first;
    /* The rates to begin with, as they were measured, [convs] and [layers]; NULL: the state's. */
    const int8_t *weight_shift, *anchor_shift;
    dfe_samples replay, judge; /* to learn among the new ones; never learned, to judge by */
    int8_t *recent_x;          /* room for so many new samples; 0: they are not judged by */
    int32_t *recent_y;
    int32_t recent_most;
    int32_t *words; /* classes + layers + (judge.count + 31) / 32 of them */
    void *arena;    /* for dfe_step of one sample; judging uses it too */
    size_t arena_bytes;
    int32_t replace; /* what was known may go: nothing is replayed, only the new counts */
    int32_t no_replay, no_guard;

    /* To be stored beside the state and set again, so that learning goes on as it was: */
    uint32_t samples;          /* new ones learned */
    int32_t doublings, caution; /* how much longer periods are; how often rates are halved */

    /* To be read only: since dfe_care_begin how often it judged, and took back a part or all; */
    int32_t judgements, partly, wholly;
    int32_t known_first;  /* of `judge`, how many were recognised at first; */
    int32_t known;        /* of `judge`, how many the last good state recognises; */
    int32_t replayed_first; /* of `replay`, how many were at first; */
    int32_t usual;        /* the usual error may not be higher. */
    int32_t presented, length, halvings, taught, recent, watched, right, stride, begun;
} dfe_care;

/* Check all that was set, count what is known, and take the state for a good one. */
int dfe_care_begin(dfe_care *care);

/* Learn one sample; scores int32 [classes] are those before it.  What it refuses it refuses before it
 * learns, but for a `keep` that fails. */
int dfe_learn(dfe_care *care, const int8_t *x, int32_t y, int32_t *scores);

/* Judge what was not judged yet, so that the state may be stored; learning may go on. */
int dfe_care_end(dfe_care *care);

/* The usual error of a state that recognises `right` of `count` samples that were known. */
int32_t dfe_usual_error(int32_t right, int32_t count);

/* Whether, of `count` samples that judge, `lost` and `won` since the first state lose too little to
 * matter, with one standard error. */
int dfe_surely_kept(int32_t count, int32_t lost, int32_t won);

/* Keep kept / of of what learning moved since another state, rounded to nearest, halves upward; of at
 * most 4. */
void dfe_part_way(const dfe_program *program, void *state, const void *good, int32_t kept,
                  int32_t of);

#ifdef __cplusplus
}
#endif

#endif
