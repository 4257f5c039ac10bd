/* Make one utterance in flash into what the net takes, learn it, and print both: see test_sound.py. */
#include "board/board.h"
#include "data.h"
#include "net.h"

static void number(const char *name, uint32_t value) {
    char text[12];
    int at = sizeof text;
    text[--at] = 0;
    text[--at] = '\n';
    do text[--at] = (char)('0' + value % 10);
    while (value /= 10);
    board_write(name);
    board_write(" ");
    board_write(text + at);
}

static void bytes(const char *name, const void *from, int32_t count) {
    const uint8_t *byte = from;
    char text[3] = {0, 0, 0};
    board_write(name);
    board_write(" ");
    for (int32_t i = 0; i < count; i++) {
        text[0] = "0123456789abcdef"[byte[i] >> 4];
        text[1] = "0123456789abcdef"[byte[i] & 15];
        board_write(text);
    }
    board_write("\n");
}

static int8_t x[NET_HEIGHT * NET_WIDTH * NET_CHANNELS];

int main(void) {
    int32_t scores[NET_CLASSES], active[NET_LAYERS], label = LABEL;
    net_reset();
    uint32_t begin = board_ticks();
    net_input(sound, SAMPLES, x);
    number("ticks", (board_ticks() - begin) & 0xFFFFFF);
    number("stack", board_stack_used());
    if (net_step(1, x, &label, scores, active) != DFE_OK) return 1;
    bytes("x", x, sizeof x);
    bytes("state", net_state(), NET_STATE_BYTES);
    return 0;
}
