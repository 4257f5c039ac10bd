/* Judge samples with an exported net, let those that are normal teach, and print what came of it: the
 * test compares it with the host's. On a board by semihosting, elsewhere by the C library. */
#include "data.h"
#include "net_normal.h"
#include "port.h"

static void print_decimal(int64_t number) {
    char text[24], *at = text + sizeof text - 1;
    *at = 0;
    do *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    board_write(at);
}

int main(void) {
    net_reset();
    board_write("samples ");
    for (int32_t i = 0; i < SAMPLES; i++) {
        const int8_t *x = samples + i * NET_HEIGHT * NET_WIDTH * NET_CHANNELS;
        int32_t mode = 0;
        int64_t far = net_distance(x, &mode);
        int taught = net_follow(x);
        if (far < 0 || taught != (far <= net_normal()->threshold)) return 1;
        board_write(i ? ";" : "");
        print_decimal(far);
        board_write(",");
        print_decimal(mode);
        board_write(taught ? ",1" : ",0");
    }
    board_write("\n");
    print_number("stack", board_stack_used());
    print_bytes("state", net_state(), NET_STATE_BYTES);
    return 0;
}
