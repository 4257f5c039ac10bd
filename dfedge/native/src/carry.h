/* An error carried down through weights: the transposed convolution, rounded as it is made. */
#ifndef DFE_CARRY_H
#define DFE_CARRY_H

#include "error.h"
#include "geometry.h"

/* One convolution seen from above. */
typedef struct {
    const dfe_conv *conv;
    const int8_t *w;     /* what the error goes down through */
    const int8_t *signs; /* df-r-concordant: |w| takes the signs of these; else NULL */
    const dfe_error *error; /* at its output */
} dfe_back;

/* acc[i] += the transposed convolution at input position (b, y, x), channels c .. c + n. */
void dfe_carry_at(const dfe_back *back, int32_t b, int32_t y, int32_t x, int32_t c, int32_t n,
                  int32_t *acc);

/* e_in = narrow(carried, conv.back) where seen > 0, else 0: int8 [B, H, W, C] like the input. */
void dfe_carry_inside(const dfe_back *back, int32_t batch, const int8_t *seen, int8_t *map);

/* The same of some rows of all samples, [batch H]. */
void dfe_carry_inside_some(const dfe_back *back, const int8_t *seen, int8_t *map, dfe_span rows);

/* Through a whole unit, to its input. */
typedef struct {
    dfe_back first;
    dfe_back skip; /* conv NULL: the skipped input itself */
    int32_t joined, lift, skip_lift;
} dfe_unit_back;

/* The whole error of the layer below: its own and what comes down, saturated, zero where h = 0:
 * int8 [B, H, W, C] at its output h, before its pool. */
void dfe_carry_below(const dfe_unit_back *unit, int32_t batch, const dfe_error *own, int32_t pool,
                     int8_t *map);

/* The same of some of all rows that come down, `dfe_rows_below` a sample. */
void dfe_carry_below_some(const dfe_unit_back *unit, const dfe_error *own, int32_t pool,
                          int8_t *map, dfe_span rows);
int32_t dfe_rows_below(const dfe_error *own, int32_t pool);

/* The same of a layer that hands on its mean: int8 [B, d], as its anchors see it. */
void dfe_carry_means(const dfe_unit_back *unit, int32_t batch, const dfe_error *own, int8_t *map);

#endif
