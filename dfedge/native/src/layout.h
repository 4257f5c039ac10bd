/* Made by python -m dfedge.native.layout_header from what Python knows of a table. */
#ifndef DFE_LAYOUT_H
#define DFE_LAYOUT_H

#include <stdint.h>

#define DFE_ABI 10
#define DFE_MAX_SHIFT 24
#define DFE_MAX_UPDATE_SHIFT 48
#define DFE_MAX_PACE 8
#define DFE_MAX_KERNEL 1024
#define DFE_MAX_POOLED 4194304
#define DFE_MAX_CHAIN 8
#define DFE_MAX_OPERATIONS 1024
#define DFE_LEVELS 128

enum dfe_feedback {
    DFE_NONE, DFE_TRANSPOSE, DFE_FIXED, DFE_SIGN_CONCORDANT
};
enum dfe_form {
    DFE_ONE_PASS, DFE_LABEL_PLANE
};
enum dfe_kind {
    DFE_CONVOLUTION, DFE_PAD, DFE_ADD, DFE_MULTIPLY, DFE_LOOKUP, DFE_AVERAGE_POOL, DFE_MAX_POOL,
    DFE_CONCAT, DFE_SELECT, DFE_GATHER, DFE_KINDS
};

/* Of every kind of operation: its name, how many values go in, at least and at most, and
 * what it is. */
enum { DFE_WINDOWS = 1, DFE_WHOLE = 2, DFE_BY_CHANNEL = 4 };
#define DFE_EVERY_KIND(X) \
    X(convolution, 1, 1, DFE_WINDOWS) \
    X(pad, 1, 1, DFE_WHOLE) \
    X(add, 2, 2, 0) \
    X(multiply, 2, 2, DFE_BY_CHANNEL) \
    X(lookup, 1, 1, 0) \
    X(average_pool, 1, 1, DFE_WINDOWS) \
    X(max_pool, 1, 1, DFE_WINDOWS) \
    X(concat, 1, 2147483647, DFE_WHOLE) \
    X(select, 1, 1, 0) \
    X(gather, 1, 1, DFE_WHOLE)

/* See dfedge/plan.py.  Offsets are bytes into the state, -1 where a tensor does not exist. */
typedef struct {
    int32_t height, width, in_channels, channels, kernel_height, kernel_width, stride,
            across, top, bottom, left, right, depthwise, shift, back, weight, bias, feedback;
} dfe_conv;

/* first, convs: of its convolutions in the table.  joined: convolutions of a residual
 * layer's inner branch; 0: it is none. */
typedef struct {
    int32_t first, convs, joined, lift, skip_lift, back_lift, skip_back_lift, pool, mean,
            cells, gain, score_shift, margin, pull, separation, counted, norm_high, norm_low,
            norm_shift, anchors;
} dfe_layer;

/* See dfedge/operations.  kind, first, reads: of the values that go in, in the table's list.
 * height, width, channels: of what it makes.  place: of that in the workspace; the last
 * one's is elsewhere.  rows: 0: a whole map; else as many rows at a time, for the next
 * operation alone.  weight and what follows: bytes into the constants.  What a kind has no
 * use for is zero. */
typedef struct {
    int32_t kind, first, reads, height, width, channels, place, rows, kernel_height,
            kernel_width, stride, across, top, bottom, left, right, groups, zero, other_zero,
            factor, other, offset, shift, weight, bias, lift, limit, table, order;
} dfe_operation;

/* operations to workspace: of the trunk; workspace: bytes of an image.  height, width,
 * channels: of the image. */
typedef struct {
    int32_t abi, state_bytes, layers, convs, operations, reads, constant_bytes, workspace,
            height, width, channels, classes, feedback, form, negatives, cut, live, weight_shift,
            anchor_shift, phase, error, usual_error, pace, planes;
} dfe_program;

#endif
