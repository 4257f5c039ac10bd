#include "operation.h"

static int8_t *filled(int8_t *out, int32_t fill, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) out[i] = (int8_t)fill;
    return out + n;
}

void dfe_run_pad(const dfe_work *w) {
    const dfe_operation *op = w->op;
    ptrdiff_t channels = w->given.channels, row = (ptrdiff_t)w->given.width * channels;
    ptrdiff_t whole = (ptrdiff_t)op->width * op->channels;
    const int8_t *x = w->x;
    int8_t *out = filled(w->out, op->zero, op->top * whole);
    for (int32_t y = 0; y < w->given.height; y++, x += row) {
        out = filled(out, op->zero, op->left * channels);
        __builtin_memmove(out, x, (size_t)row);
        out = filled(out + row, op->zero, op->right * channels);
    }
    filled(out, op->zero, op->bottom * whole);
}

int dfe_good_pad(const dfe_program *p, const dfe_operation *op, dfe_shape given, dfe_shape other) {
    (void)p, (void)other;
    return dfe_within(op->zero, 0, DFE_MAX) && dfe_within(op->top, 0, op->height) &&
           dfe_within(op->bottom, 0, op->height) && dfe_within(op->left, 0, op->width) &&
           dfe_within(op->right, 0, op->width) && op->channels == given.channels &&
           (int64_t)given.height + op->top + op->bottom == op->height &&
           (int64_t)given.width + op->left + op->right == op->width;
}
