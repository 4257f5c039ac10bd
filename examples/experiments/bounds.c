/* What the calls of an exported net cost on an emulated microcontroller, kernel by kernel: prints
 * "KIND CASE TICKS" a case, of TIMES calls.  See bounds.py, which writes cases.h, and calls.h. */
#include "calls.h"

#include "anchors.h"
#include "answer.h"
#include "carry.h"
#include "convolve.h"
#include "pool.h"
#include "update.h"

enum { ROWS = 1 << 12 };

static int8_t w[VALUES], h[VALUES], values[VALUES], signs[VALUES];
static int32_t words[ROWS], lift[ROWS], limit[ROWS], live[ROWS];

typedef struct {
    int32_t v[24];
} numbers;

#include "cases.h"

static dfe_conv conv_of(const int32_t *v) {
    dfe_conv c = {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11],
                  v[12], 9, 9, 0, 0, 0};
    return c;
}

/* At a convolution's output. */
static dfe_error error_of(const dfe_conv *c, int32_t cells) {
    dfe_error e = {cells ? DFE_CELLS : DFE_MAP, values, h, NULL, dfe_out_height(c),
                   dfe_out_width(c), c->channels, cells};
    return e;
}

static void forward(int32_t i, const int32_t *v) {
    dfe_conv c = conv_of(v);
    dfe_conv one = {c.height, c.width, v[15], c.channels, 1, 1, c.stride, c.stride, 0, 0, 0, 0,
                    0, 0, 0, 0, 0, 0};
    dfe_skip skip = {x, v[15] ? &one : NULL, w, words, 1, 1};
    dfe_scaling scaling = {lift, limit};
    if (v[14]) MEASURED("forward", dfe_conv_scaled(&c, v[13], 1, x, w, words, scaling, map));
    else MEASURED("forward", dfe_conv_join(&c, 1, x, w, words, v[15] >= 0 ? &skip : NULL, map));
}

static void move(int32_t i, const int32_t *v) {
    dfe_conv c = conv_of(v);
    dfe_error e = error_of(&c, v[13]);
    MEASURED("update", dfe_conv_update(&c, 1, x, &e, w, 2, (uint32_t)t * 7));
    for (int32_t n = 0; n < VALUES; n++) w[n] = (int8_t)draw(-127, 127);
}

static void carry(int32_t i, const int32_t *v) {
    dfe_conv c = conv_of(v);
    dfe_error e = error_of(&c, v[13]);
    dfe_back back = {&c, w, v[14] ? signs : NULL, &e};
    MEASURED("inside", dfe_carry_inside(&back, 1, x, map));
}

static void below(int32_t i, const int32_t *v) {
    dfe_conv c = conv_of(v);
    dfe_error e = error_of(&c, 1);
    int32_t pool = v[13];
    dfe_conv one = {c.height, c.width, c.in_channels, c.channels, 1, 1, c.stride, c.stride,
                    0, 0, 0, 0, 0, 9, 9, 0, 0, 0};
    dfe_unit_back unit = {{&c, w, NULL, &e}, {v[14] == 1 ? &one : NULL, w, NULL, &e}, v[14] >= 0, 1, 1};
    dfe_error own = {DFE_CELLS, values, h, NULL, c.height << pool, c.width << pool, c.in_channels, 2};
    MEASURED("below", dfe_carry_below(&unit, 1, &own, pool, map));
}

static void small(int32_t i, const int32_t *v) {
    dfe_shape s = {v[0], v[1], v[2]};
    dfe_layer layer = {0};
    layer.counted = 1;
    layer.margin = 8;
    layer.separation = INT32_MAX;
    layer.pull = 3;
    MEASURED("cells", dfe_pool_cells(x, s, v[3], 1, values));
    MEASURED("pool", dfe_max_pool(x, 1, s, map));
    int32_t d = v[4], classes = v[5], y[1] = {1};
    dfe_verdict verdict = {2, 3, 1};
    MEASURED("judge", dfe_judge(&layer, classes, d, x, h, words));
    MEASURED("contrast", dfe_contrast(&layer, classes, d, x, h, 1, (const int8_t *)live, words));
    int64_t lead;
    MEASURED("answer", dfe_nearest(words, classes, &lead));
    MEASURED("settle", dfe_settle(&layer, 1, d, y, &verdict, signs, map, 2, 77, values));
}

int main(void) {
    for (int32_t i = 0; i < VALUES; i++) {
        x[i] = (int8_t)draw(1, 127);
        w[i] = (int8_t)draw(-127, 127);
        h[i] = (int8_t)draw(1, 127);
        signs[i] = (int8_t)draw(-127, 127);
        values[i] = (int8_t)(draw(0, 1) ? draw(20, 60) : draw(-60, -20));
    }
    for (int32_t i = 0; i < ROWS; i++) {
        words[i] = draw(-1000, 1000);
        lift[i] = 1;
        limit[i] = 128 << 9;
        ((int8_t *)live)[i] = 1;
    }
    for (int32_t i = 0; i < FORWARDS; i++) forward(i, FORWARD[i].v);
    for (int32_t i = 0; i < UPDATES; i++) move(i, UPDATE[i].v);
    for (int32_t i = 0; i < INSIDES; i++) carry(i, INSIDE[i].v);
    for (int32_t i = 0; i < DOWNS; i++) below(i, DOWN[i].v);
    for (int32_t i = 0; i < SMALLS; i++) small(i, SMALL[i].v);
    all_calls(FIRST, NETS, sizeof NETS / sizeof *NETS);
    return 0;
}
