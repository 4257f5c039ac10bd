/* Weights moved by rounded sums. */
#include "arithmetic.h"
#include "level.h"

/* The dither has 16 bits, so R(v, s) = sign(v) ((|v| 2^(16 - s) + r) >> 16), where a fraction is cut
 * off before r is added: as `dfe_round` has it. */
static void move_one(int8_t *w, int32_t sign, uint32_t by) {
    int32_t moved = sign < 0 ? *w + (int32_t)by : *w - (int32_t)by;
    *w = (int8_t)dfe_clamp(moved, -DFE_MAX, DFE_MAX);
}

/* Places to the right of a magnitude, where s is above 16; of 31 bits nothing is left after 31. */
static int32_t fine(int32_t shift) { return dfe_clamp(shift - 16, 0, 31); }

void dfe_move_plain(const int32_t *acc, int32_t n, int32_t shift, uint32_t place, uint32_t lattice,
                    int8_t *w) {
    int32_t right = fine(shift), last = shift < 16 ? shift : 16;
    for (int32_t i = 0; i < n; i++, place += lattice) {
        int32_t v = acc[i];
        if (v == 0) continue;
        uint32_t size = v < 0 ? 0u - (uint32_t)v : (uint32_t)v;
        uint32_t by = ((size >> right) + ((place & DFE_DITHER_MASK) >> (16 - last))) >> last;
        if (by) move_one(w + i, v, by);
    }
}

void dfe_move_by_products(const int8_t *x, int32_t channels, const int8_t *e, int32_t n,
                          ptrdiff_t step, int32_t shift, uint32_t place, int8_t *w) {
    struct {
        uint32_t size, place;
        int32_t at;
    } error[DFE_OUTPUTS], *end = error;
    for (int32_t i = 0; i < n; i++)
        if (e[i]) {
            end->size = (uint32_t)(e[i] < 0 ? -e[i] : e[i]) << (shift < 16 ? 16 - shift : 0);
            end->place = place + (uint32_t)i * DFE_LATTICE_2;
            end->at = i;
            end++;
        }
    int32_t right = fine(shift);
    uint32_t row = 0;
    for (int32_t c = 0; c < channels; c++, w += step, row += DFE_LATTICE_1) {
        uint32_t v = (uint8_t)x[c];
        if (v == 0) continue;
        for (int32_t i = 0; i < (int32_t)(end - error); i++) {
            uint32_t by = (v * error[i].size >> right) + ((error[i].place + row) & DFE_DITHER_MASK);
            if (by >> 16) move_one(w + error[i].at, e[error[i].at], by >> 16);
        }
    }
}
