/* Tiles over vectors, which a set defines before it includes this: `vec` of BLOCKS blocks of 16 bytes, and
 * what is done to one.  Of a panel of V registers, block L of register j holds outputs
 * 4 (V L + j) .. + 4: then saturating packs bring the bytes of all sums in order, but for groups of four. */

enum { LANES = 4 * BLOCKS, BYTES = 16 * BLOCKS, MOST = DFE_TILE_REGISTERS };

/* Groups of four bytes: to block L those numbered V L + j, and back; of one or two
 * blocks the first of these. */
static const int32_t SPREAD[MOST + 1][16] = {
    {0},
    {0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0},
    {0, 1, 0, 0, 2, 3, 0, 0, 4, 5, 0, 0, 6, 7, 0, 0},
    {0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8, 0, 9, 10, 11, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
};
static const int32_t GATHERED[MOST + 1][16] = {
    {0},
    {0, 4, 8, 12},
    {0, 1, 4, 5, 8, 9, 12, 13},
    {0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
};

/* A row of bytes, one for each output, spread over the blocks. */
INLINE vec spread_row(const int8_t *at, int32_t outputs, const int registers) {
    vec row = load_bytes(at, outputs, registers);
    return registers < MOST ? permute(row, load(SPREAD[registers])) : row;
}

/* Four such rows -> registers of groups of four bytes, one of each row. */
INLINE void quads(const vec r[4], const int registers, vec q[MOST]) {
    vec low01 = unpack_low8(r[0], r[1]), low23 = unpack_low8(r[2], r[3]);
    vec high01 = unpack_high8(r[0], r[1]), high23 = unpack_high8(r[2], r[3]);
    q[0] = unpack_low16(low01, low23);
    if (registers > 1) q[1] = unpack_high16(low01, low23);
    if (registers > 2) q[2] = unpack_low16(high01, high23);
    if (registers > 3) q[3] = unpack_high16(high01, high23);
}

INLINE void pack_some(const int8_t *w, ptrdiff_t stride, int32_t n, int32_t outputs, const int registers,
                      int8_t *packed) {
    for (; n > 0; n -= 4, w += 4 * stride, packed += BYTES * registers) {
        vec r[4], q[MOST];
        UNROLL
        for (int i = 0; i < 4; i++) r[i] = i < n ? spread_row(w + i * stride, outputs, registers) : zero();
        quads(r, registers, q);
        UNROLL
        for (int j = 0; j < registers; j++) store(packed + BYTES * j, q[j]);
    }
}

TARGET static void pack(const int8_t *w, ptrdiff_t stride, int32_t n, int32_t outputs, int32_t registers,
                        int8_t *packed) {
    switch (registers) {
        case 1: pack_some(w, stride, n, outputs, 1, packed); break;
        case 2: pack_some(w, stride, n, outputs, 2, packed); break;
        case 3: pack_some(w, stride, n, outputs, 3, packed); break;
        default: pack_some(w, stride, n, outputs, 4, packed); break;
    }
}

/* Whole registers are written: what is stored in parts is slow to load whole. */
TARGET static void order(const int32_t *given, int32_t outputs, int32_t registers, int32_t *ordered) {
    int32_t whole[LANES * MOST];
    if (outputs < LANES * registers) {
        for (int32_t j = 0; j < registers; j++)
            store(whole + LANES * j, load_numbers(given + LANES * j, outputs - LANES * j));
        given = whole;
    }
    for (int32_t j = 0; j < registers; j++)
        store(ordered + LANES * j, blocks(given + 4 * j, 4 * registers));
}

/* What becomes of all sums, to int32 that the packs saturate. */
INLINE void finish(vec sum[][MOST], const int positions, const int registers, const dfe_panel *panel,
                   int8_t *const *to) {
    vec half = every32(panel->shift ? 1 << (panel->shift - 1) : 0), none = zero();
    shift_count shift = to_the_right(panel->shift);
    if (panel->lift) {
        UNROLL
        for (int j = 0; j < registers; j++) {
            vec limit = load(panel->limit + LANES * j), lift = load(panel->lift + LANES * j);
            UNROLL
            for (int p = 0; p < positions; p++)
                sum[p][j] = multiply32(smaller32(larger32(sum[p][j], none), limit), lift);
        }
    } else {
        UNROLL
        for (int j = 0; j < registers; j++)
            UNROLL
            for (int p = 0; p < positions; p++) sum[p][j] = larger32(sum[p][j], none);
    }
    vec gathered = load(GATHERED[registers]);
    UNROLL
    for (int p = 0; p < positions; p++) {
        vec *s = sum[p];
        UNROLL
        for (int j = 0; j < registers; j++)
            s[j] = shifted32(add32(s[j], half), shift);
        vec low = packed16(s[0], s[registers > 1]);
        vec high = registers > 2 ? packed16(s[2], s[registers > 3 ? 3 : 2]) : low;
        vec bytes = packed8(low, high);
        if (registers < MOST) bytes = permute(bytes, gathered);
        store_bytes(to[p], bytes, panel->outputs, registers);
    }
}

INLINE void tile(const dfe_window_run *in, const int positions, const int registers, const dfe_panel *panel,
                 int8_t *const *to) {
    vec sum[DFE_TILE_POSITIONS][MOST];
    UNROLL
    for (int j = 0; j < registers; j++) {
        vec start = load(panel->start + LANES * j);
        UNROLL
        for (int p = 0; p < positions; p++) sum[p][j] = start;
    }
    const int8_t *packed = in->packed, *row = in->x;
    ptrdiff_t step = in->step;
    for (int32_t r = 0; r < in->rows; r++, row += in->input_step) {
        const int8_t *x[(DFE_TILE_POSITIONS + 2) / 3]; /* one for three positions: few addresses */
        UNROLL
        for (int p = 0; p < positions; p += 3) x[p / 3] = row + p * step;
        for (int32_t k = 0; k < in->run; k += 4, packed += BYTES * registers) {
            vec w[MOST];
            UNROLL
            for (int j = 0; j < registers; j++) w[j] = load(packed + BYTES * j);
            UNROLL
            for (int p = 0; p < positions; p++) {
                int32_t four;
                __builtin_memcpy(&four, x[p / 3] + (p % 3) * step, 4);
                vec seen = every32(four);
                UNROLL
                for (int j = 0; j < registers; j++) sum[p][j] = multiply_add(sum[p][j], seen, w[j]);
            }
            UNROLL
            for (int p = 0; p < positions; p += 3) x[p / 3] += 4;
        }
    }
    finish(sum, positions, registers, panel, to);
}

/* Constants keep every sum in a register. */
#define TILE(p, v)                                                                                  \
    TARGET static void tile_##p##_##v(const dfe_window_run *in, const dfe_panel *panel,             \
                                      int8_t *const *to) {                                          \
        tile(in, p, v, panel, to);                                                                  \
    }
#define ENTRY(p, v) [v][p] = tile_##p##_##v,

#define TWO(OF, v) OF(1, v) OF(2, v)
#define THREE(OF, v) TWO(OF, v) OF(3, v)
#define FOUR(OF, v) THREE(OF, v) OF(4, v)
#define SIX(OF, v) FOUR(OF, v) OF(5, v) OF(6, v)
#define EIGHT(OF, v) SIX(OF, v) OF(7, v) OF(8, v)
#define TWELVE(OF, v) EIGHT(OF, v) OF(9, v) OF(10, v) OF(11, v) OF(12, v)
#define FOURTEEN(OF, v) TWELVE(OF, v) OF(13, v) OF(14, v)

typedef void (*tile_of)(const dfe_window_run *in, const dfe_panel *panel, int8_t *const *to);
EVERY(TILE)
static const tile_of TILES[MOST + 1][DFE_TILE_POSITIONS + 1] = {EVERY(ENTRY)};

static void make(const dfe_window_run *in, int32_t count, const dfe_panel *panel, int8_t *const *to) {
    TILES[panel->registers][count](in, panel, to);
}
