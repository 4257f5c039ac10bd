/* A class that the net has never seen, from a few samples: dfedge/device/classes.py and, among what is known,
 * dfedge/continual/placing.py, to the same bytes. */
#ifndef DFE_NEW_CLASS_H
#define DFE_NEW_CLASS_H

#include "care.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Known samples that may fall to the new class, in 100 of those that were recognised. */
enum { DFE_LOST = 3 };

typedef struct {
    const dfe_program *program;
    void *state;
    int32_t row;        /* of the new class: none that is live */
    const int8_t *x;    /* its samples, int8 [count, H, W, C] */
    int32_t count;
    dfe_samples known;  /* of other classes; those whose class is not live are passed over */
    int32_t lost;       /* as DFE_LOST */
    void *room;         /* dfe_new_class_bytes, aligned to 8 bytes */
    size_t room_bytes;
    void *arena;        /* for dfe_infer and dfe_features of one sample */
    size_t arena_bytes;
} dfe_new_class;

/* Room that `samples` take, new and known together. */
#define DFE_NEW_CLASS_BYTES(samples, seen, classes) \
    ((size_t)(samples) * (16 + (seen)) + 8 * (size_t)(seen) + 4 * (size_t)(classes))

/* What a sample is seen as by all layers together. */
int32_t dfe_seen(const dfe_program *program);

/* Give the class its row; a dfe_status.  What it refuses it refuses before the state changes. */
int dfe_add_class(const dfe_new_class *given);

#ifdef __cplusplus
}
#endif

#endif
