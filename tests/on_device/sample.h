/* Samples of data.h, made into what the calls take. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include "data.h"
#include "net.h"

/* A sample lies in RAM, as a sensor leaves it there. */
static const int8_t *input(const RAW *samples, int32_t i) {
    static RAW raw[RAW_VALUES];
    static int8_t x[NET_HEIGHT * NET_WIDTH * NET_CHANNELS];
    for (int32_t k = 0; k < RAW_VALUES; k++) raw[k] = samples[i * RAW_VALUES + k];
    net_input(raw, x);
    return x;
}

static uint32_t right(void) {
    uint32_t count = 0;
    for (int32_t i = 0; i < TEST_SAMPLES; i++) {
        static net_answer answer;
        if (net_predict(input(test_x, i), &answer) != DFE_OK) return 0;
        count += answer.row == test_y[i];
    }
    return count;
}

#endif
