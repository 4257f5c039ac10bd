#include "operation.h"

void dfe_run_concat(const dfe_work *w) {
    const dfe_program *program = w->image->program;
    const dfe_operation *op = w->op;
    ptrdiff_t positions = (ptrdiff_t)op->height * op->width;
    int8_t *out = w->out;
    for (int32_t i = 0; i < op->reads; i++) {
        int32_t read = dfe_value_read(program, op, i);
        const int8_t *x = dfe_value(w->image, read);
        int32_t channels = dfe_value_shape(program, read).channels;
        for (ptrdiff_t p = 0; p < positions; p++)
            __builtin_memmove(out + p * op->channels, x + p * channels, (size_t)channels);
        out += channels;
    }
}

int dfe_good_concat(const dfe_program *p, const dfe_operation *op, dfe_shape given,
                    dfe_shape other) {
    (void)given, (void)other;
    int64_t channels = 0;
    for (int32_t i = 0; i < op->reads; i++) {
        dfe_shape one = dfe_value_shape(p, dfe_value_read(p, op, i));
        if (one.height != op->height || one.width != op->width) return 0;
        channels += one.channels;
    }
    return channels == op->channels;
}
