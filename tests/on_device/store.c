/* A firmware that keeps what it learns in flash, which is an array here; prints what lies there. */
#include <stdio.h>
#include <string.h>

#include "net_store.h"

enum { SECTOR = 4096, UNIT = 1 };

static uint8_t flash[2 * NET_SLOT_BYTES(SECTOR, UNIT)];

static int read_flash(void *context, uint32_t at, void *into, uint32_t bytes) {
    (void)context;
    memcpy(into, flash + at, bytes);
    return 0;
}

static int program_flash(void *context, uint32_t at, const void *from, uint32_t bytes) {
    (void)context;
    const uint8_t *of = from;
    for (uint32_t i = 0; i < bytes; i++) flash[at + i] &= of[i];
    return 0;
}

static int erase_flash(void *context, uint32_t at, uint32_t bytes) {
    (void)context;
    memset(flash + at, 0xFF, bytes);
    return 0;
}

static int flush_flash(void *context) {
    (void)context;
    return 0;
}

int main(void) {
    static int8_t x[NET_HEIGHT * NET_WIDTH * NET_CHANNELS];
    static net_answer answer;
    dfe_store store;
    memset(&store, 0, sizeof store);
    memset(flash, 0xFF, sizeof flash);
    store.medium.read = read_flash;
    store.medium.program = program_flash;
    store.medium.erase = erase_flash;
    store.medium.flush = flush_flash;
    store.medium.slot_bytes = NET_SLOT_BYTES(SECTOR, UNIT);
    store.medium.unit = UNIT;
    if (net_load(&store) != DFE_STORE_EMPTY) return 1;
    for (int i = 0; i < 3; i++) {
        x[i] = 127;
        if (net_learn(x, 3, &answer) != DFE_OK) return 2;
        if (net_save(&store) != DFE_STORED) return 3;
    }
    if (net_load(&store) != DFE_STORED) return 4; /* the power comes back */
    fwrite(flash, 1, sizeof flash, stdout);
    return 0;
}
