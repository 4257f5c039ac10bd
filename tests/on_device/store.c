/* A firmware that keeps what it learns in flash, which is an array here; prints what lies there. */
#include <stdio.h>
#include <string.h>

#include "dfedge/rebase.h"
#include "dfedge/store.h"
#include "net.h"

enum { SECTOR = 4096, UNIT = 1 };
#define SLOT DFE_UP(DFE_SLOT_BYTES(NET_STATE_BYTES, UNIT), SECTOR)

static uint8_t flash[2 * SLOT], room[DFE_ROOM];

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
    dfe_store store = {.medium = {read_flash, program_flash, erase_flash, flush_flash, NULL, SLOT,
                                  UNIT, room, sizeof room}};
    dfe_record own = NET_RECORD;
    int32_t scores[NET_CLASSES], active[NET_LAYERS], label = 3;
    static int8_t x[NET_HEIGHT * NET_WIDTH * NET_CHANNELS];
    memset(flash, 0xFF, sizeof flash);
    net_reset();
    dfe_identify(net_program(), net_first(), &own);
    if (dfe_store_open(&store) != DFE_STORE_EMPTY) return 1;
    for (int i = 0; i < 3; i++) {
        x[i] = 127;
        if (net_step(1, x, &label, scores, active) != DFE_OK) return 2;
        own.steps++;
        own.samples++;
        if (dfe_store_save(&store, &own, net_state(), NET_STATE_BYTES) != DFE_STORED) return 3;
    }
    net_reset(); /* the power comes back */
    if (dfe_store_open(&store) != DFE_STORED || dfe_belonging(&store.record, &own) != DFE_OWN ||
        dfe_store_load(&store, net_state(), NET_STATE_BYTES) != DFE_STORED ||
        dfe_check_state(net_program(), net_state()) != DFE_OK)
        return 4;
    fwrite(flash, 1, sizeof flash, stdout);
    return 0;
}
