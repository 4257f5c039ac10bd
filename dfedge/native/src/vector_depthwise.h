/* Channels on their own, behind vector_tile.h: four rows of a column of taps are one product. */

/* Rows `top` .. top + 4 of a column; what lies outside is zero. */
INLINE void column(const dfe_column_run *in, int32_t number, int32_t top, const int registers, int32_t outputs,
                   vec q[MOST]) {
    vec r[4];
    int32_t inside = number >= 0 && number < in->width;
    const int8_t *x = in->x + number * in->column + top * in->row;
    UNROLL
    for (int i = 0; i < 4; i++) {
        int32_t there = inside && top + i >= in->rows.begin && top + i < in->rows.end;
        r[i] = there ? spread_row(x + i * in->row, outputs, registers) : zero();
    }
    quads(r, registers, q);
}

/* A row of outputs of three columns of taps, where each column is read once. */
INLINE void three(const dfe_column_run *in, int32_t count, const int registers, const int stride,
                  const dfe_panel *panel, int8_t *to, ptrdiff_t step) {
    vec w[3][MOST], q[3][MOST];
    UNROLL
    for (int k = 0; k < 3; k++)
        UNROLL
        for (int j = 0; j < registers; j++) w[k][j] = load(panel->packed + BYTES * (k * registers + j));
    UNROLL
    for (int k = stride; k < 3; k++) column(in, in->first + k - stride, 0, registers, panel->outputs, q[k]);
    for (int32_t i = 0, next = in->first; i < count; i++, next += stride, to += step) {
        vec sum[1][MOST];
        UNROLL
        for (int k = 0; k + stride < 3; k++)
            UNROLL
            for (int j = 0; j < registers; j++) q[k][j] = q[k + stride][j];
        UNROLL
        for (int k = 3 - stride; k < 3; k++) column(in, next + k, 0, registers, panel->outputs, q[k]);
        UNROLL
        for (int j = 0; j < registers; j++) {
            sum[0][j] = load(panel->start + LANES * j);
            UNROLL
            for (int k = 0; k < 3; k++) sum[0][j] = multiply_add(sum[0][j], q[k][j], w[k][j]);
        }
        finish(sum, 1, registers, panel, &to);
    }
}

/* Of any kernel. */
INLINE void any(const dfe_column_run *in, int32_t count, const int registers, const dfe_panel *panel,
                int8_t *to, ptrdiff_t step) {
    for (int32_t i = 0; i < count; i++, to += step) {
        vec sum[1][MOST], q[MOST];
        const int8_t *packed = panel->packed;
        UNROLL
        for (int j = 0; j < registers; j++) sum[0][j] = load(panel->start + LANES * j);
        for (int32_t k = 0; k < in->wide; k++)
            for (int32_t top = 0; top < in->height; top += 4, packed += BYTES * registers) {
                column(in, in->first + i * in->stride + k, top, registers, panel->outputs, q);
                UNROLL
                for (int j = 0; j < registers; j++)
                    sum[0][j] = multiply_add(sum[0][j], q[j], load(packed + BYTES * j));
            }
        finish(sum, 1, registers, panel, &to);
    }
}

#define ROW(v)                                                                                      \
    TARGET static void row_##v(const dfe_column_run *in, int32_t count, const dfe_panel *panel,     \
                               int8_t *to, ptrdiff_t step) {                                        \
        if (in->wide == 3 && in->height <= 4 && in->stride == 1)                                    \
            three(in, count, v, 1, panel, to, step);                                                \
        else if (in->wide == 3 && in->height <= 4 && in->stride == 2)                               \
            three(in, count, v, 2, panel, to, step);                                                \
        else                                                                                        \
            any(in, count, v, panel, to, step);                                                     \
    }
ROW(1) ROW(2) ROW(3) ROW(4)

static void depthwise(const dfe_column_run *in, int32_t count, const dfe_panel *panel, int8_t *to,
                      ptrdiff_t step) {
    switch (panel->registers) {
        case 1: row_1(in, count, panel, to, step); break;
        case 2: row_2(in, count, panel, to, step); break;
        case 3: row_3(in, count, panel, to, step); break;
        default: row_4(in, count, panel, to, step); break;
    }
}
