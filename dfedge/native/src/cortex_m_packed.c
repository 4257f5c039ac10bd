/* Many positions on a Cortex-M4, M7 or M33: packed weights of two outputs, two positions at a time. */
#include "arithmetic.h"
#include "level.h"

#ifdef DFE_SIMD32

#include "simd32.h"

/* -- packed weights: [n / 4] pairs of two outputs, of the even ones of four and of the odd ones ---- */

enum { OUT = 2, GROUP = 4 };

static void pack(const int8_t *w, ptrdiff_t stride, int32_t n, int32_t outputs, int8_t *packed) {
    int16x2_t *to = (int16x2_t *)(void *)packed;
    for (; n > 0; n -= GROUP, to += 2 * OUT) {
        uint32_t row[GROUP] = {0, 0, 0, 0};
        for (int i = 0; i < GROUP; i++, w += stride)
            if (i < n) row[i] = outputs == OUT ? two_bytes(w) : (uint8_t)*w;
        uint32_t first = lower(row[0], row[2]), second = lower(row[1], row[3]);
        to[0] = even(first);
        to[1] = even(second);
        to[2] = odd(first);
        to[3] = odd(second);
    }
}

/* Up to three bytes, the others zero: nothing beyond a map is read. */
static uint32_t last_bytes(const int8_t *at, int32_t n) {
    uint32_t word = (uint8_t)at[0];
    if (n > 1) word |= (uint32_t)(uint8_t)at[1] << 8;
    if (n > 2) word |= (uint32_t)(uint8_t)at[2] << 16;
    return word;
}

/* Sums of two outputs. */
typedef struct {
    int32_t one, two;
} both;

/* Four values times as many weights of two outputs. */
INLINE both add(both sum, uint32_t bytes, int16x2_t w0, int16x2_t w1, int16x2_t w2, int16x2_t w3) {
    int16x2_t here = (int16x2_t)even_positive(bytes), beside = (int16x2_t)odd_positive(bytes);
    sum.one = __smlad(here, w0, sum.one);
    sum.two = __smlad(here, w2, sum.two);
    sum.one = __smlad(beside, w1, sum.one);
    sum.two = __smlad(beside, w3, sum.two);
    return sum;
}

/* Four values at x and at y, times packed weights: 16 products.  By hand, as every register is
 * taken. */
#define FOUR_OF_TWO \
    "ldmia %[w]!, {r8, r9, r10, r11}\n" \
    "ldr %[v], [%[x]], #4\n" \
    "uxtb16 %[t], %[v]\n" \
    "smlad %[p], %[t], r8, %[p]\n" \
    "smlad %[q], %[t], r10, %[q]\n" \
    "uxtb16 %[t], %[v], ror #8\n" \
    "ldr %[v], [%[y]], #4\n" \
    "smlad %[p], %[t], r9, %[p]\n" \
    "smlad %[q], %[t], r11, %[q]\n" \
    "uxtb16 %[t], %[v]\n" \
    "smlad %[r], %[t], r8, %[r]\n" \
    "smlad %[s], %[t], r10, %[s]\n" \
    "uxtb16 %[t], %[v], ror #8\n" \
    "smlad %[r], %[t], r9, %[r]\n" \
    "smlad %[s], %[t], r11, %[s]\n"

/* Sums of two outputs at two positions, values x .. end at the first and as many at y. */
typedef struct {
    both first, second;
} pair;

INLINE pair add_two(pair sum, const int8_t *x, const int8_t *y, const int8_t *packed, int32_t run) {
    const int16x2_t *w = (const int16x2_t *)(const void *)packed;
    const int8_t *end = x + (run & -2 * GROUP);
#ifdef __OPTIMIZE__ /* otherwise not every register is free */
    if (x != end) {
        uint32_t bytes, two;
        __asm__("0:\n" FOUR_OF_TWO FOUR_OF_TWO
                "ldr %[t], %[e]\n"
                "cmp %[x], %[t]\n"
                "bne 0b\n"
                : [x] "+r"(x), [y] "+r"(y), [w] "+r"(w), [p] "+r"(sum.first.one),
                  [q] "+r"(sum.first.two), [r] "+r"(sum.second.one), [s] "+r"(sum.second.two),
                  [v] "=&r"(bytes), [t] "=&r"(two)
                : [e] "m"(end)
                : "r8", "r9", "r10", "r11", "cc", "memory");
    }
#endif
    for (end += run & GROUP; x < end; x += GROUP, y += GROUP, w += 2 * OUT) {
        sum.first = add(sum.first, four_bytes(x), w[0], w[1], w[2], w[3]);
        sum.second = add(sum.second, four_bytes(y), w[0], w[1], w[2], w[3]);
    }
    int32_t rest = run % GROUP;
    if (rest) {
        sum.first = add(sum.first, last_bytes(x, rest), w[0], w[1], w[2], w[3]);
        sum.second = add(sum.second, last_bytes(y, rest), w[0], w[1], w[2], w[3]);
    }
    return sum;
}

static void sums_of_two(const int8_t *x, ptrdiff_t step, const dfe_packed_rows *rows,
                        const int32_t *one, const int32_t *two, int32_t *acc) {
    pair sum = {{one[0], one[1]}, {two[0], two[1]}};
    const int8_t *packed = rows->packed;
    for (int32_t r = rows->rows; r > 0; r--, x += rows->input_step, packed += rows->packed_step)
        sum = add_two(sum, x, x + step, packed, rows->run);
    acc[0] = sum.first.one;
    acc[1] = sum.first.two;
    acc[2] = sum.second.one;
    acc[3] = sum.second.two;
}

/* Of a single row of taps. */
static void sums_of_row(const int8_t *x, ptrdiff_t step, int32_t count, const dfe_packed_rows *rows,
                        const int32_t *start, int32_t *acc) {
    for (; count > 1; count -= 2, x += 2 * step, acc += 2 * OUT) {
        const int32_t *one = start ? start : acc, *two = start ? start : acc + OUT;
        pair sum = {{one[0], one[1]}, {two[0], two[1]}};
        sum = add_two(sum, x, x + step, rows->packed, rows->run);
        acc[0] = sum.first.one;
        acc[1] = sum.first.two;
        acc[2] = sum.second.one;
        acc[3] = sum.second.two;
    }
}

static void sums_of_one(const int8_t *a, const dfe_packed_rows *rows, const int32_t *start,
                        int32_t *acc) {
    both sum = {start[0], start[1]};
    const int8_t *packed = rows->packed;
    int32_t whole = rows->run & -GROUP, rest = rows->run % GROUP;
    for (int32_t r = rows->rows; r > 0; r--, packed += rows->packed_step) {
        const int8_t *end = a + whole;
        const int16x2_t *w = (const int16x2_t *)(const void *)packed;
        for (; a < end; a += GROUP, w += 2 * OUT)
            sum = add(sum, four_bytes(a), w[0], w[1], w[2], w[3]);
        if (rest) sum = add(sum, last_bytes(a, rest), w[0], w[1], w[2], w[3]);
        a += rows->input_step - whole;
    }
    acc[0] = sum.one;
    acc[1] = sum.two;
}

static void sums(const int8_t *x, ptrdiff_t step, int32_t count, const dfe_packed_rows *rows,
                 const int32_t *start, int32_t *acc) {
    int32_t single = count % 2;
    if (rows->rows == 1) sums_of_row(x, step, count, rows, start, acc);
    else
        for (int32_t i = 0; i + 1 < count; i += 2)
            sums_of_two(x + i * step, step, rows, start ? start : acc + i * OUT,
                        start ? start : acc + (i + 1) * OUT, acc + i * OUT);
    x += (count - single) * step;
    acc += (count - single) * OUT;
    if (single) sums_of_one(x, rows, start ? start : acc, acc);
}

/* A sum below zero stays so when it is shifted, and is held at zero then. */
static void floored(const int32_t *acc, int32_t count, int32_t outputs, int32_t shift, int8_t *out,
                    ptrdiff_t step) {
    if (outputs < OUT) {
        for (; count > 0; count--, acc += OUT, out += step) *out = (int8_t)__usat(*acc >> shift, 7);
        return;
    }
    for (const int32_t *end = acc + count * OUT; acc < end; acc += OUT, out += step) {
        int32_t one = acc[0], two = acc[1];
        out[0] = (int8_t)__usat(one >> shift, 7);
        out[1] = (int8_t)__usat(two >> shift, 7);
    }
}

const dfe_panel_kernels dfe_cortex_m_panel = {OUT, GROUP, pack, sums, floored};

#endif
