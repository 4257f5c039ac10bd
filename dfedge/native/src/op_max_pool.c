#include "operation.h"

void dfe_run_max_pool(const dfe_work *w) {
    const dfe_operation *op = w->op;
    dfe_shape given = w->given;
    int8_t *out = w->out;
    for (int32_t y = 0; y < op->height; y++) {
        dfe_span rows = dfe_window(y, op->stride, op->top, op->kernel_height, given.height);
        for (int32_t across = 0; across < op->width; across++) {
            dfe_span columns = dfe_window(across, op->across, op->left, op->kernel_width,
                                          given.width);
            ptrdiff_t first = (ptrdiff_t)y * op->stride - op->top;
            ptrdiff_t left = (ptrdiff_t)across * op->across - op->left;
            for (int32_t c = 0; c < given.channels; c += DFE_OUTPUTS) {
                int8_t top[DFE_OUTPUTS] = {0};
                int32_t n = dfe_some(given.channels - c);
                for (int32_t ky = rows.begin; ky < rows.end; ky++)
                    for (int32_t kx = columns.begin; kx < columns.end; kx++) {
                        const int8_t *at = w->x + c + ((first + ky) * given.width + left + kx) *
                                                          given.channels;
                        for (int32_t i = 0; i < n; i++) top[i] = at[i] > top[i] ? at[i] : top[i];
                    }
                __builtin_memcpy(out, top, (size_t)n);
                out += n;
            }
        }
    }
}

int dfe_good_max_pool(const dfe_program *p, const dfe_operation *op, dfe_shape given,
                      dfe_shape other) {
    (void)p, (void)other;
    return op->channels == given.channels && dfe_good_windows(op, given, DFE_MAX_POOLED);
}
