/* Make one sample in flash, SAMPLE, into what the net takes, learn it, and print both: see test_sound.py
   and test_features.py. */
#include "data.h"
#include "net.h"
#include "port.h"

static int8_t x[NET_HEIGHT * NET_WIDTH * NET_CHANNELS];

int main(void) {
    int32_t scores[NET_CLASSES], active[NET_LAYERS], label = LABEL;
    net_reset();
    uint32_t begin = board_ticks();
    net_input(SAMPLE, x);
    print_number("ticks", (board_ticks() - begin) & 0xFFFFFF);
    print_number("stack", board_stack_used());
    if (net_step(1, x, &label, scores, active) != DFE_OK) return 1;
    print_bytes("x", x, sizeof x);
    print_bytes("state", net_state(), NET_STATE_BYTES);
    return 0;
}
