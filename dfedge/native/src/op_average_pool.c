#include "operation.h"

/* `n` channels of one window, summed. */
static void window_sum(const dfe_operation *op, dfe_shape given, const int8_t *x, int32_t n,
                       int32_t *sum) {
    for (int32_t i = 0; i < n; i++) sum[i] = 0;
    for (int32_t ky = 0; ky < op->kernel_height; ky++)
        for (int32_t kx = 0; kx < op->kernel_width; kx++) {
            const int8_t *at = x + ((ptrdiff_t)ky * given.width + kx) * given.channels;
            for (int32_t i = 0; i < n; i++) sum[i] += at[i];
        }
}

void dfe_run_average_pool(const dfe_work *w) {
    const dfe_operation *op = w->op;
    dfe_shape given = w->given;
    int8_t *out = w->out;
    for (int32_t y = 0; y < op->height; y++)
        for (int32_t across = 0; across < op->width; across++) {
            const int8_t *at = w->x + ((ptrdiff_t)y * given.width + across) * op->stride *
                                          given.channels;
            for (int32_t c = 0; c < given.channels; c += DFE_OUTPUTS) {
                int32_t sum[DFE_OUTPUTS], n = dfe_some(given.channels - c);
                window_sum(op, given, at + c, n, sum);
                for (int32_t i = 0; i < n; i++)
                    *out++ = dfe_floored(sum[i] * op->factor + op->offset, op->shift);
            }
        }
}

int dfe_good_average_pool(const dfe_program *p, const dfe_operation *op, dfe_shape given,
                          dfe_shape other) {
    (void)p, (void)other;
    return op->channels == given.channels && !op->top && !op->bottom && !op->left && !op->right &&
           dfe_good_windows(op, given, DFE_MAX_POOLED) &&
           dfe_good_sum(op, DFE_MAX * (int64_t)op->kernel_height * op->kernel_width *
                                dfe_size(op->factor));
}
