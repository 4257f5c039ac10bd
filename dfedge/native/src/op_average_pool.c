#include "operation.h"

/* `n` channels of so many rows and columns from x on, summed. */
static void window_sum(dfe_shape given, const int8_t *x, int32_t rows, int32_t columns, int32_t n,
                       int32_t *sum) {
    for (int32_t i = 0; i < n; i++) sum[i] = 0;
    for (int32_t ky = 0; ky < rows; ky++)
        for (int32_t kx = 0; kx < columns; kx++) {
            const int8_t *at = x + ((ptrdiff_t)ky * given.width + kx) * given.channels;
            for (int32_t i = 0; i < n; i++) sum[i] += at[i];
        }
}

/* The means of all channels over what of a window lies inside, from x on. */
static int8_t *mean(const dfe_operation *op, dfe_shape given, const int8_t *x, int32_t rows,
                    int32_t columns, int8_t *out) {
    int32_t whole = op->kernel_height * op->kernel_width, count = rows * columns;
    int32_t factor = count == whole ? op->factor
                     : count        ? (int32_t)((int64_t)op->factor * whole / count)
                                    : 0; /* only in a damaged table */
    for (int32_t c = 0; c < given.channels; c += DFE_OUTPUTS) {
        int32_t sum[DFE_OUTPUTS], n = dfe_some(given.channels - c);
        window_sum(given, x + c, rows, columns, n, sum);
        for (int32_t i = 0; i < n; i++)
            *out++ = dfe_floored((sum[i] - count * op->zero) * factor + op->offset, op->shift);
    }
    return out;
}

void dfe_run_average_pool(const dfe_work *w) {
    const dfe_operation *op = w->op;
    dfe_shape given = w->given;
    int8_t *out = w->out;
    for (int32_t y = 0; y < op->height; y++) {
        dfe_span rows = dfe_window(y, op->stride, op->top, op->kernel_height, given.height);
        ptrdiff_t first = (ptrdiff_t)y * op->stride - op->top + rows.begin;
        for (int32_t across = 0; across < op->width; across++) {
            dfe_span columns = dfe_window(across, op->across, op->left, op->kernel_width,
                                          given.width);
            ptrdiff_t left = (ptrdiff_t)across * op->across - op->left + columns.begin;
            out = mean(op, given, w->x + (first * given.width + left) * given.channels,
                       rows.end - rows.begin, columns.end - columns.begin, out);
        }
    }
}

int dfe_good_average_pool(const dfe_program *p, const dfe_operation *op, dfe_shape given,
                          dfe_shape other) {
    (void)p, (void)other;
    return op->channels == given.channels && dfe_within(op->zero, 0, DFE_MAX) &&
           op->top < op->kernel_height && op->bottom < op->kernel_height &&
           op->left < op->kernel_width && op->right < op->kernel_width &&
           dfe_good_windows(op, given, DFE_MAX_POOLED) &&
           dfe_good_sum(op, DFE_MAX * (int64_t)op->kernel_height * op->kernel_width *
                                dfe_size(op->factor));
}
