/* A class that the net has never seen, from a few samples: dfedge/device/classes.py and, among what is known,
 * dfedge/continual/placing.py, to the same bytes. */
#ifndef DFE_NEW_CLASS_H
#define DFE_NEW_CLASS_H

#include "care.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Samples that judge of which so many may be lost, in 100 of those that were recognised. */
enum { DFE_LOST = 3 };

typedef struct {
    const dfe_program *program;
    void *state;
    int32_t row;        /* of the new class: none that is live */
    int32_t own;        /* rows of the bundle's own classes, which come first */
    /* The state that was exported, where nothing was learned since: the anchors of all classes move,
     * and what is lost is counted from it.  NULL: only the new row moves, and it is counted from what
     * the bundle's own classes recognise among themselves. */
    const void *first;
    const int8_t *x;    /* its samples, int8 [count, H, W, C] */
    int32_t count;
    dfe_samples known;  /* of other classes; those whose class is not live are passed over */
    dfe_samples judge;  /* of the bundle's own, that no anchor is placed among: what is lost */
    int32_t lost;       /* as DFE_LOST, over all classes that are added */
    void *room;         /* dfe_new_class_bytes, aligned to 8 bytes */
    size_t room_bytes;
    void *arena;        /* for dfe_features of one sample */
    size_t arena_bytes;
} dfe_new_class;

/* Room that `samples`, new and known together, and those that judge take. */
#define DFE_NEW_CLASS_BYTES(samples, judging, seen, classes)        \
    ((size_t)(samples) * (16 + 8 * (size_t)(classes) + (seen)) +    \
     (size_t)(judging) * (16 + (size_t)(seen)) +                    \
     (size_t)(classes) * (8 + 2 * (size_t)(seen)) + (size_t)(seen))

/* What a sample is seen as by all layers together. */
int32_t dfe_seen(const dfe_program *program);

/* Give the class its row; a dfe_status.  What it refuses it refuses before the state changes. */
int dfe_add_class(const dfe_new_class *given);

#ifdef __cplusplus
}
#endif

#endif
