/* net_save on simulated flash whose power goes: in every TRY_STRIDE-th unit that TRY_SAVES saves program and
 * sector that they erase, torn in four ways; then TRY_FLIPS single bits.  After each net_load must give
 * what was saved last, or what was being saved.  Prints counts.
 *
 * As a chip has it: erased bytes are FF, a unit is programmed once until its sector is erased, what
 * is under way when the power goes holds any mixture of old and new bits, and nothing is done after
 * it. TRY_CARELESS: erases the other slot too, a control in which losses must be found. */
#include <stdio.h>
#include <string.h>

#include "net_store.h"

enum { SLOT = NET_SLOT_BYTES(TRY_SECTOR, TRY_UNIT), SIZE = 2 * SLOT, IMAGE = NET_HEIGHT * NET_WIDTH * NET_CHANNELS };

static uint8_t cells[SIZE], before_cells[SIZE], before[NET_STATE_BYTES], after[NET_STATE_BYTES];
static int32_t operations, cut, tear; /* cut < 0: the power holds */
static uint32_t seed = 1;
static uint32_t cuts, lost, refused, violations, told, newest, older, repaired, wrong;

static uint32_t draw(void) {
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static int dead(void) { return cut >= 0 && operations > cut; }

/* Bits that reach the medium, of a byte under way: none, a fifth, four fifths, all. */
static uint8_t reached(void) {
    uint8_t mask = 0;
    for (int bit = 0; bit < 8; bit++) mask |= (uint8_t)((draw() % 5 < (uint32_t)(tear == 1 ? 1 : 4)) << bit);
    return tear == 0 ? 0 : tear == 3 ? 0xFF : mask;
}

/* One unit or sector; whether the power went. */
static int operate(uint32_t at, const uint8_t *from, uint32_t bytes) {
    if (dead()) return 1;
    int torn = operations++ == cut;
    for (uint32_t i = 0; i < bytes; i++) {
        uint8_t new = from ? from[i] : 0xFF, mask = torn ? reached() : 0xFF;
        cells[at + i] = (uint8_t)((cells[at + i] & ~mask) | (new & mask));
    }
    return torn;
}

static int read_flash(void *context, uint32_t at, void *into, uint32_t bytes) {
    (void)context;
    memcpy(into, cells + at, bytes);
    return dead();
}

static int program_flash(void *context, uint32_t at, const void *from, uint32_t bytes) {
    const uint8_t *byte = from;
    (void)context;
    violations += at % TRY_UNIT || bytes % TRY_UNIT;
    for (uint32_t i = 0; i < bytes; i += TRY_UNIT) {
        for (uint32_t k = 0; k < TRY_UNIT && !dead(); k++) violations += cells[at + i + k] != 0xFF;
        if (operate(at + i, byte + i, TRY_UNIT)) return 1;
    }
    return 0;
}

static int erase_flash(void *context, uint32_t at, uint32_t bytes) {
    (void)context;
    violations += at % TRY_SECTOR || bytes % TRY_SECTOR;
#ifdef TRY_CARELESS
    at = 0;
    bytes = SIZE;
#endif
    for (uint32_t i = 0; i < bytes; i += TRY_SECTOR)
        if (operate(at + i, NULL, TRY_SECTOR)) return 1;
    return 0;
}

static int flush_flash(void *context) {
    (void)context;
    return dead();
}

static dfe_store store = {
    .medium = {read_flash, program_flash, erase_flash, flush_flash, NULL, SLOT, TRY_UNIT, NULL, 0}};

/* The chip starts: 1 where it goes on from a state, 0 where it does from the export. */
static int started(void) {
    operations = 0;
    cut = -1;
    int status = net_load(&store);
    return status == DFE_STORED ? 1 : status == DFE_STORE_EMPTY || status == DFE_STORE_DAMAGED ? 0 : -1;
}

static int holds(const uint8_t *state) { return memcmp(net_state(), state, NET_STATE_BYTES) == 0; }

/* What save `number` is of, learned anew. */
static void learn(uint32_t number) {
    static int8_t x[IMAGE];
    static net_answer answer;
    seed = number;
    for (int i = 0; i < IMAGE; i++) x[i] = (int8_t)(draw() % 128);
    if (net_learn(x, (int32_t)(number % NET_NAMED), &answer) != DFE_OK) wrong++;
}

/* The power goes in operation `where` of save `number`. */
static void lose(uint32_t number, int32_t where, int32_t how) {
    memcpy(cells, before_cells, SIZE);
    started();
    memcpy(net_state(), after, NET_STATE_BYTES);
    net_learned()->steps = number;
    operations = 0;
    cut = where;
    tear = how;
    int status = net_save(&store), found = started();
    cuts++;
    uint64_t steps = net_learned()->steps;
    int is_new = found == 1 && steps == number && holds(after);
    int is_old = found == (number > 1) && steps == number - 1 && holds(before);
    lost += !is_new && (!is_old || status == DFE_STORED);
    told += status == DFE_STORED;
    memcpy(net_state(), after, NET_STATE_BYTES); /* the next save */
    refused += net_save(&store) != DFE_STORED || started() != 1 || !holds(after);
}

/* One bit of either slot: the other slot is opened, or, where it was of that, the newest. */
static void flip(uint32_t bit, uint32_t number) {
    memcpy(cells, before_cells, SIZE);
    cells[bit / 8] ^= (uint8_t)(1u << bit % 8);
    int found = started();
    uint64_t steps = net_learned()->steps;
    newest += found == 1 && steps == number && holds(after);
    older += found == 1 && steps == number - 1 && holds(before);
    repaired += net_save(&store) == DFE_STORED && started() == 1 && store.kinds[0] == DFE_SLOT_WHOLE &&
                store.kinds[1] == DFE_SLOT_WHOLE;
}

/* A bit of each slot: nothing is whole. */
static void flip_both(void) {
    memcpy(cells, before_cells, SIZE);
    for (uint32_t slot = 0; slot < 2; slot++) {
        uint32_t bit = draw() % (8 * SLOT);
        cells[slot * SLOT + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    wrong += net_load(&store) != DFE_STORE_DAMAGED || memcmp(net_state(), net_first(), NET_STATE_BYTES);
}

int main(void) {
    memset(cells, 0xFF, SIZE);
    for (uint32_t number = 1; number <= TRY_SAVES; number++) {
        started();
        memcpy(before_cells, cells, SIZE);
        memcpy(before, net_state(), NET_STATE_BYTES);
        learn(number);
        memcpy(after, net_state(), NET_STATE_BYTES);
        operations = 0;
        wrong += net_save(&store) != DFE_STORED;
        int32_t all = operations;
        for (int32_t where = (int32_t)(number % TRY_STRIDE); where < all; where += TRY_STRIDE)
            for (int32_t how = 0; how < 4; how++) lose(number, where, how);
        memcpy(cells, before_cells, SIZE);
        started();
        memcpy(net_state(), after, NET_STATE_BYTES);
        net_learned()->steps = number;
        wrong += net_save(&store) != DFE_STORED;
    }
    memcpy(before_cells, cells, SIZE);
    for (uint32_t i = 0; i < TRY_FLIPS; i++) flip(draw() % (8 * SIZE), TRY_SAVES);
    for (uint32_t i = 0; i < TRY_FLIPS; i++) flip_both();
    printf("cuts %u\ntold %u\nlost %u\nrefused %u\nviolations %u\nnewest %u\nolder %u\nrepaired %u\nwrong %u\n",
           cuts, told, lost, refused, violations, newest, older, repaired, wrong);
    return 0;
}
