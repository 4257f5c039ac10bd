/* Train an exported net on samples in flash, as a camera or a sensor gives them, one at a time, and
 * print what came of it: the test compares it with the host's. On a board by semihosting, elsewhere
 * by the C library. */
#include "port.h"
#include "sample.h"

int main(void) {
    int32_t scores[NET_CLASSES], active[NET_LAYERS], little = 1;
    uint32_t begin, step = 0, infer;
    net_reset();
    print_number("before", right());
    for (int32_t i = 0; i < STEPS; i++) {
        const int8_t *x = input(train_x, i % TRAIN_SAMPLES);
        begin = board_ticks();
        int status = net_step(1, x, train_y + i % TRAIN_SAMPLES, scores, active);
        if (status != DFE_OK) return status;
        uint32_t took = board_ticks() - begin;
        if (active[0] && active[NET_LAYERS - 1] && took > step) step = took;
    }
    const int8_t *first = input(test_x, 0);
    begin = board_ticks();
    if (net_infer(1, first, scores) != DFE_OK) return 1;
    infer = board_ticks() - begin;
    print_number("after", right());
    print_number("step_ticks", step & 0xFFFFFF);
    print_number("infer_ticks", infer & 0xFFFFFF);
    print_number("stack", board_stack_used());
    print_number("little", *(const char *)&little);
    /* Words as the host has them: an int32 is one number on either byte order. */
    print_bytes("state", net_state(), NET_STATE_BYTES);
    return 0;
}
