/* The calls of nets on a board, in the worst case: prints "CALL NET TICKS" of TIMES calls, of "add" of one.
 *
 * No input is zero, every sample is misjudged, every weight moves. */
#include "board.h"
#include "check.h"
#include "crc32.h"
#include "job.h"
#include "new_class.h"
#include "print.h"
#include "rebase.h"
#include "store.h"
#include "trunk.h"

enum { TIMES = 4, VALUES = 28 << 10 };

static int8_t x[VALUES], map[VALUES];
static int32_t room[VALUES / 2], state[VALUES / 4], arena[VALUES / 4], first[VALUES / 4];
static int32_t scores[400], active[40];
static uint32_t seed = 1;

static int32_t draw(int32_t low, int32_t high) {
    seed = seed * 1664525u + 1013904223u;
    return low + (int32_t)((seed >> 8) % (uint32_t)(high - low + 1));
}

typedef struct {
    const int32_t *table, *state;
    int32_t state_bytes, known;
    uint32_t slot_bytes;
} net;

static void say(const char *kind, int32_t number, uint32_t begun) {
    uint32_t took = (board_ticks() - begun) & 0xFFFFFF;
    board_write(kind);
    board_write(" ");
    char text[12];
    int at = sizeof text;
    text[--at] = 0;
    do text[--at] = (char)('0' + number % 10);
    while (number /= 10);
    print_number(text + at, took);
}

#define MEASURED(kind, call)                         \
    do {                                             \
        uint32_t begun = board_ticks();              \
        for (int t = 0; t < TIMES; t++) { call; }    \
        say(kind, i, begun);                         \
    } while (0)

static uint8_t flash[VALUES];
static int get(void *c, uint32_t at, void *into, uint32_t n) {
    (void)c;
    __builtin_memcpy(into, flash + at, n);
    return 0;
}
static int put(void *c, uint32_t at, const void *from, uint32_t n) {
    (void)c;
    __builtin_memcpy(flash + at, from, n);
    return 0;
}
static int erase(void *c, uint32_t at, uint32_t n) {
    (void)c;
    for (uint32_t i = at; i < at + n; i++) flash[i] = 0xFF;
    return 0;
}
static int flush(void *c) { return c != NULL; }

/* The lowest score's row, so that the sample is misjudged. */
static int32_t worst(const int32_t *scores, const int8_t *alive, int32_t classes) {
    int32_t found = 0;
    for (int32_t k = 1; k < classes; k++)
        if (alive[k] && (!alive[found] || scores[k] < scores[found])) found = k;
    return found;
}

static void whole(int32_t i, const net *n) {
    const dfe_program *p = (const dfe_program *)(const void *)n->table;
    int8_t *seen = map;
    dfe_memory memory;
    __builtin_memcpy(state, n->state, (size_t)n->state_bytes);
    __builtin_memcpy(first, n->state, (size_t)n->state_bytes);
    if (dfe_check(p) || dfe_infer(p, state, 1, x, scores, arena, sizeof arena)) {
        print_number("refused", (uint32_t)i);
        return;
    }
    MEASURED("check", dfe_check(p));
    MEASURED("begin", dfe_check_call(p, state, DFE_INFER, 1, x, NULL, arena, sizeof arena, &memory));
    if (p->operations) MEASURED("trunk", dfe_trunk(p, 1, x, (int8_t *)arena + 4096, (int8_t *)arena));
    MEASURED("infer", dfe_infer(p, state, 1, x, scores, arena, sizeof arena));
    if (!dfe_features(p, state, 1, x, seen, NULL, arena, sizeof arena))
        MEASURED("features", dfe_features(p, state, 1, x, seen, NULL, arena, sizeof arena));
    if (dfe_check_call(p, state, DFE_TRAIN, 1, x, NULL, arena, sizeof arena, &memory)) {
        print_number("untrained", (uint32_t)i);
        return;
    }
    int32_t y[1] = {worst(scores, (const int8_t *)state + p->live, p->classes)};
    uint32_t begun = board_ticks();
    for (int t = 0; t < TIMES; t++) {
        dfe_step(p, state, 1, x, y, scores, active, arena, sizeof arena);
        __builtin_memcpy(state, first, (size_t)n->state_bytes);
    }
    say("step", i, begun);
    MEASURED("copy", __builtin_memcpy(state, first, (size_t)n->state_bytes));
}

/* The longest slice, in ticks of a single one; and that it is as the whole call. */
static void in_slices(int32_t i, const net *n, int call) {
    const dfe_program *p = (const dfe_program *)(const void *)n->table;
    static int32_t other[400];
    static dfe_job job;
    int32_t y[1] = {0};
    uint32_t longest = 0, sum;
    __builtin_memcpy(state, n->state, (size_t)n->state_bytes);
    dfe_infer(p, state, 1, x, scores, arena, sizeof arena);
    y[0] = worst(scores, (const int8_t *)state + p->live, p->classes);
    if (call == DFE_INFER) dfe_infer(p, state, 1, x, other, arena, sizeof arena);
    else if (dfe_step(p, state, 1, x, y, other, active, arena, sizeof arena)) return;
    sum = dfe_crc32(0, state, (size_t)n->state_bytes);
    __builtin_memcpy(state, n->state, (size_t)n->state_bytes);
    if (dfe_begin(&job, call, p, state, 1, x, y, scores, active, arena, sizeof arena)) return;
    for (int status = DFE_MORE; status == DFE_MORE;) {
        uint32_t begun = board_ticks();
        status = dfe_go(&job);
        uint32_t took = (board_ticks() - begun) & 0xFFFFFF;
        if (took > longest) longest = took;
    }
    for (int32_t k = 0; k < p->classes; k++)
        if (scores[k] != other[k]) print_number("other_scores", (uint32_t)i);
    if (sum != dfe_crc32(0, state, (size_t)n->state_bytes)) print_number("other_state", (uint32_t)i);
    say(call == DFE_INFER ? "go_infer" : "go_step", i, board_ticks() - longest);
}

static void keep(int32_t i, const net *n) {
    const dfe_program *p = (const dfe_program *)(const void *)n->table;
    static uint8_t page[DFE_ROOM];
    dfe_store store = {.medium = {get, put, erase, flush, 0, n->slot_bytes, 8, page, DFE_ROOM}};
    dfe_record own = {0};
    erase(NULL, 0, 24 << 10);
    dfe_store_open(&store);
    dfe_store_save(&store, &own, n->state, (uint32_t)n->state_bytes);
    dfe_store_save(&store, &own, n->state, (uint32_t)n->state_bytes);
    MEASURED("load", (dfe_identify(p, n->state, &own), dfe_store_open(&store),
                      dfe_store_load(&store, room, (uint32_t)n->state_bytes),
                      dfe_check_state(p, room)));
    MEASURED("save", dfe_store_save(&store, &own, n->state, (uint32_t)n->state_bytes));
    MEASURED("erase", erase(NULL, 0, n->slot_bytes));
}

/* Of more a timer of 24 bits would begin anew. */
enum { MOST_SEEN = 1800 };

/* With a loss far below zero allowed, which nothing keeps where any sample is recognised: all rounds,
 * and all steps away. */
static void add(int32_t i, const net *n) {
    const dfe_program *p = (const dfe_program *)(const void *)n->table;
    static int32_t rows[64];
    int32_t each = p->height * p->width * p->channels, row = p->classes - 1, right = 0;
    __builtin_memcpy(state, n->state, (size_t)n->state_bytes);
    ((int8_t *)state)[p->live + row] = 0;
    for (int32_t s = 0; s < n->known; s++) {
        if (dfe_infer(p, state, 1, x + s * each, scores, arena, sizeof arena)) return;
        rows[s] = 0;
        for (int32_t k = 1; k < row; k++)
            if (scores[k] > scores[rows[s]]) rows[s] = k;
        int32_t others = 0;
        for (int32_t k = 0; k < row; k++) others += scores[k] < scores[rows[s]];
        right += others == row - 1;
    }
    if (!right || row < 2 || p->classes * dfe_seen(p) > MOST_SEEN) return;
    dfe_new_class given = {
        .program = p, .state = state, .row = row, .own = row, .first = first, .x = x, .count = 2,
        .known = {x, rows, n->known}, .judge = {x, rows, n->known}, .lost = -10000, .room = room,
        .room_bytes = sizeof room, .arena = arena, .arena_bytes = sizeof arena,
    };
    uint32_t begun = board_ticks();
    int failed = dfe_add_class(&given);
    if (failed) print_number("refused", (uint32_t)failed);
    else say("add", i, begun);
}

static void all_calls(int32_t from, const net *nets, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        whole(from + i, nets + i);
        in_slices(from + i, nets + i, DFE_INFER);
        in_slices(from + i, nets + i, DFE_TRAIN);
        keep(from + i, nets + i);
        if (nets[i].known) add(from + i, nets + i);
    }
}
