#include "pool.h"

#include "arithmetic.h"
#include "geometry.h"
#include "level.h"

enum { NORM_LEVELS = 255 };

/* One position, read whole before it is written. */
static void pool_one(const int8_t *h, ptrdiff_t below, ptrdiff_t beside, int32_t n, int8_t *a) {
    int8_t top[DFE_OUTPUTS];
    for (int32_t i = 0; i < n; i++) {
        int8_t upper = h[i] > h[beside + i] ? h[i] : h[beside + i];
        int8_t lower = h[below + i] > h[below + beside + i] ? h[below + i] : h[below + beside + i];
        top[i] = upper > lower ? upper : lower;
    }
    __builtin_memcpy(a, top, (size_t)n);
}

void dfe_max_pool(const int8_t *h, int32_t batch, dfe_shape s, int8_t *a) {
    int32_t down = dfe_pool_side(s.height), across = dfe_pool_side(s.width);
    int32_t height = s.height / down, width = s.width / across;
    int32_t parts = dfe_ceil_div(s.channels, DFE_OUTPUTS);
    ptrdiff_t row = (ptrdiff_t)s.width * s.channels;
    ptrdiff_t count = (ptrdiff_t)batch * height * width;
    int forward = a <= h;
    for (ptrdiff_t i = 0; i < count; i++) {
        ptrdiff_t place = forward ? i : count - 1 - i;
        ptrdiff_t x = place % width, y = place / width % height, b = place / width / height;
        const int8_t *from = h + (b * s.height + down * y) * row + across * x * s.channels;
        for (int32_t j = 0; j < parts; j++) {
            int32_t c = (forward ? j : parts - 1 - j) * DFE_OUTPUTS;
            pool_one(from + c, (down - 1) * row, (across - 1) * s.channels, dfe_min(DFE_OUTPUTS, s.channels - c),
                     a + place * s.channels + c);
        }
    }
}

/* One cell of one block of channels. */
static void cell_mean(const int8_t *h, dfe_shape s, dfe_span rows, dfe_span columns, int32_t n,
                      int32_t gain, int32_t channels, int8_t *p) {
    uint32_t sum[DFE_OUTPUTS] = {0};
    for (int32_t y = rows.begin; y < rows.end; y++)
        for (int32_t x = columns.begin; x < columns.end; x++) {
            const int8_t *at = h + ((ptrdiff_t)y * s.width + x) * s.channels;
            for (int32_t c = 0; c < channels; c++) sum[c] += (uint8_t)at[c];
        }
    for (int32_t c = 0; c < channels; c++) {
        uint32_t mean = ((sum[c] << gain) * 2 + (uint32_t)n) / (2 * (uint32_t)n);
        p[c] = (int8_t)(mean > DFE_MAX ? DFE_MAX : mean);
    }
}

void dfe_pool_cells(const int8_t *h, dfe_shape s, int32_t cells, int32_t gain, int8_t *p) {
    int32_t height = dfe_cell_side(s.height, cells), width = dfe_cell_side(s.width, cells);
    int32_t down = dfe_grid_side(s.height, cells), across = dfe_grid_side(s.width, cells);
    for (int32_t y = 0; y < down; y++)
        for (int32_t x = 0; x < across; x++, p += s.channels) {
            dfe_span rows = {y * height, dfe_min((y + 1) * height, s.height)};
            dfe_span columns = {x * width, dfe_min((x + 1) * width, s.width)};
            for (int32_t c = 0; c < s.channels; c += DFE_OUTPUTS)
                cell_mean(h + c, s, rows, columns, height * width, gain,
                          dfe_min(DFE_OUTPUTS, s.channels - c), p + c);
        }
}

int32_t dfe_energy(const int8_t *h, ptrdiff_t n) {
    int32_t g = 0;
    for (ptrdiff_t i = 0; i < n; i++) g += h[i] * h[i];
    return g;
}

void dfe_normalise(int8_t *h, ptrdiff_t n, int32_t g, uint64_t norm, int32_t shift) {
    uint32_t m = 0;
    while (m < NORM_LEVELS && (uint64_t)g <= norm / ((uint64_t)(m + 1) * (m + 1))) m++;
    for (ptrdiff_t i = 0; i < n; i++) h[i] = dfe_activation(h[i] * (int32_t)m, shift);
}
