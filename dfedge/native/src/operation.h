/* The operations of a frozen trunk, one file each: op_NAME.c has what dfedge/operations/NAME.py
 * defines, and what a table must say of it.
 *
 * Values are int8 [H, W, C] of one image.  What works value by value may write where it reads.
 * In a damaged table any places may overlap: then the numbers are wrong, and nothing worse.
 */
#ifndef DFE_OPERATION_H
#define DFE_OPERATION_H

#include "arithmetic.h"
#include "check.h"
#include "convolve.h"
#include "level.h"
#include "trunk.h"

/* One operation at work: on a whole map, or on the rows that make one row. */
typedef struct {
    const dfe_image *image;
    const dfe_operation *op;
    dfe_shape given; /* of the first value, as far as it is there */
    const int8_t *x, *other;
    int8_t *out;
    dfe_span outputs; /* of a convolution, those that are made */
    int32_t number;   /* of the operation */
} dfe_work;

#define DFE_DECLARED(name, least, most, flags)                                              \
    void dfe_run_##name(const dfe_work *w);                                                 \
    /* Of values whose count and shapes are known to make sense. */                         \
    int dfe_good_##name(const dfe_program *p, const dfe_operation *op, dfe_shape given,     \
                        dfe_shape other);
DFE_EVERY_KIND(DFE_DECLARED)
#undef DFE_DECLARED

/* A convolution's constants. */
const int32_t *dfe_bias_of(const dfe_program *p, const dfe_operation *op);
dfe_scaling dfe_scaling_of(const dfe_program *p, const dfe_operation *op);

static inline ptrdiff_t dfe_values(dfe_shape s) { return (ptrdiff_t)s.height * s.width * s.channels; }

static inline dfe_shape dfe_made(const dfe_operation *op) {
    dfe_shape made = {op->height, op->width, op->channels};
    return made;
}

static inline int dfe_alike(dfe_shape a, dfe_shape b) {
    return a.height == b.height && a.width == b.width && a.channels == b.channels;
}

static inline int64_t dfe_size(int32_t v) { return v < 0 ? -(int64_t)v : v; }

/* So many values at a time, all read before any is written. */
static inline int32_t dfe_some(ptrdiff_t rest) {
    return rest < DFE_OUTPUTS ? (int32_t)rest : DFE_OUTPUTS;
}

/* Sums that reach `most` beside the offset fit int32. */
static inline int dfe_good_sum(const dfe_operation *op, int64_t most) {
    return dfe_within(op->shift, 0, DFE_MAX_SHIFT) &&
           most + dfe_size(op->offset) < INT64_C(1) << 31;
}

/* Windows over what is given make what the table says. */
static inline int dfe_good_windows(const dfe_operation *op, dfe_shape given, int32_t most_taps) {
    dfe_conv c = dfe_windows(op, given);
    return dfe_good_geometry(&c, most_taps) && op->height == dfe_out_height(&c) &&
           op->width == dfe_out_width(&c);
}

#endif
