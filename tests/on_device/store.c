/* The example of the exported folder keeps what it learns in flash, in units of one byte; prints what lies
 * there. */
#include <stdio.h>

#define main example
#include "examples/learn/main.c"
#undef main

int main(void) {
    static int8_t x[NET_HEIGHT * NET_WIDTH * NET_CHANNELS];
    static net_answer answer;
    if (start()) return 1;
    memset(flash, 0xFF, sizeof flash);
    store.medium.slot_bytes = NET_SLOT_BYTES(SECTOR, 1);
    store.medium.unit = 1;
    if (net_load(&store) != DFE_STORE_EMPTY) return 2;
    for (int i = 0; i < 3; i++) {
        x[i] = 127;
        if (net_learn(x, 3, &answer) != DFE_OK) return 3;
        if (net_save(&store) != DFE_STORED) return 4;
    }
    if (net_load(&store) != DFE_STORED) return 5; /* the power comes back */
    fwrite(flash, 1, 2 * store.medium.slot_bytes, stdout);
    return 0;
}
