#include "store.h"

#include "crc32.h"

enum { VERSION = 2, ERASED = 0xFF };
static const uint8_t magic[4] = {0x89, 'D', 'F', 'S'};
static const uint8_t done[4] = {'D', 'O', 'N', 'E'};

/* What a header says. */
typedef struct {
    uint32_t sequence, state_bytes;
    dfe_record record;
} found_slot;

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static void put32(uint8_t *at, uint32_t v) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t get32(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put64(uint8_t *at, uint64_t v) {
    put32(at, (uint32_t)v);
    put32(at + 4, (uint32_t)(v >> 32));
}

static uint64_t get64(const uint8_t *at) { return get32(at) | (uint64_t)get32(at + 4) << 32; }

static int same(const uint8_t *a, const uint8_t *b, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++)
        if (a[i] != b[i]) return 0;
    return 1;
}

static int erased(const uint8_t *at, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++)
        if (at[i] != ERASED) return 0;
    return 1;
}

static void fill(uint8_t *at, uint8_t with, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) at[i] = with;
}

static uint32_t header_sum(const uint8_t *head) {
    return dfe_crc32(dfe_crc32(0, head, 12), head + 16, DFE_HEADER - 16);
}

static void write_header(uint8_t *head, const dfe_record *r, uint32_t sequence,
                         uint32_t state_bytes) {
    const uint32_t words[] = {VERSION,     DFE_HEADER, 0,        sequence,
                              state_bytes, r->program, r->layout};
    fill(head, 0, DFE_HEADER);
    for (int i = 0; i < 4; i++) head[i] = magic[i];
    for (int i = 0; i < 7; i++) put32(head + 4 + 4 * i, words[i]);
    for (int i = 0; i < 32; i++) head[32 + i] = r->lineage[i];
    put32(head + 64, r->bundle_version);
    put32(head + 68, r->semantics_version);
    put64(head + 72, r->steps);
    put64(head + 80, r->samples);
    put32(head + 88, (uint32_t)r->doublings);
    put32(head + 92, (uint32_t)r->caution);
    put32(head + 12, header_sum(head));
}

static void read_header(const uint8_t *head, found_slot *found) {
    dfe_record *r = &found->record;
    found->sequence = get32(head + 16);
    found->state_bytes = get32(head + 20);
    r->program = get32(head + 24);
    r->layout = get32(head + 28);
    for (int i = 0; i < 32; i++) r->lineage[i] = head[32 + i];
    r->bundle_version = get32(head + 64);
    r->semantics_version = get32(head + 68);
    r->steps = get64(head + 72);
    r->samples = get64(head + 80);
    r->doublings = (int32_t)get32(head + 88);
    r->caution = (int32_t)get32(head + 92);
}

static uint32_t commit_at(const dfe_medium *m, uint32_t state_bytes) {
    return DFE_UP(DFE_HEADER + state_bytes, m->unit);
}

/* The sum of all before the commit, as it must be. */
static uint32_t sum_of(const dfe_medium *m, const uint8_t *head, const void *state,
                       uint32_t state_bytes) {
    const uint8_t pad = ERASED;
    uint32_t sum = dfe_crc32(dfe_crc32(0, head, DFE_HEADER), state, state_bytes);
    for (uint32_t at = DFE_HEADER + state_bytes; at < commit_at(m, state_bytes); at++)
        sum = dfe_crc32(sum, &pad, 1);
    return sum;
}

/* "DONE", the sum, FF: the whole of the last units. */
static uint32_t write_commit(const dfe_medium *m, uint8_t *commit, uint32_t sum) {
    uint32_t bytes = DFE_UP(DFE_COMMIT, m->unit);
    fill(commit, ERASED, bytes);
    for (int i = 0; i < 4; i++) commit[i] = done[i];
    put32(commit + 4, sum);
    return bytes;
}

static int good_medium(const dfe_medium *m) {
    return m->unit && m->unit <= DFE_MOST_UNIT && !(m->unit & (m->unit - 1)) && m->room &&
           m->room_bytes >= DFE_ROOM && m->slot_bytes >= DFE_SLOT_BYTES(0, m->unit) &&
           m->slot_bytes <= INT32_MAX && m->slot_bytes % m->unit == 0;
}

static int fits(const dfe_medium *m, uint32_t state_bytes) {
    return state_bytes <= m->slot_bytes && DFE_SLOT_BYTES(state_bytes, m->unit) <= m->slot_bytes;
}

/* The sum of bytes that are not kept, and whether all of them are FF. */
static int read_over(const dfe_medium *m, uint32_t at, uint32_t bytes, uint32_t *sum, int *blank) {
    while (bytes) {
        uint32_t n = least(bytes, m->room_bytes);
        if (m->read(m->context, at, m->room, n)) return DFE_STORE_FAILED;
        *sum = dfe_crc32(*sum, m->room, n);
        *blank = *blank && erased(m->room, n);
        at += n;
        bytes -= n;
    }
    return DFE_STORED;
}

static int committed(const dfe_medium *m, uint32_t at, uint32_t sum) {
    uint8_t wanted[DFE_MOST_UNIT];
    uint32_t bytes = write_commit(m, wanted, sum);
    return !m->read(m->context, at, m->room, bytes) && same(m->room, wanted, bytes);
}

/* Whether a whole header of a later version is there, however long. */
static int newer(const dfe_medium *m, uint32_t start, const uint8_t *head) {
    uint32_t bytes = get32(head + 8), here = least(bytes, DFE_HEADER);
    if (get32(head + 4) <= VERSION || bytes < 16 || bytes > m->slot_bytes) return 0;
    uint32_t sum = dfe_crc32(dfe_crc32(0, head, 12), head + 16, here - 16);
    int blank = 0;
    return !read_over(m, start + here, bytes - here, &sum, &blank) && sum == get32(head + 12);
}

/* An enum dfe_slot_kind; what cannot be read is damaged, for the other slot may be whole. */
static int scan(const dfe_medium *m, uint32_t start, found_slot *found) {
    uint8_t head[DFE_HEADER];
    if (m->read(m->context, start, head, sizeof head)) return DFE_SLOT_DAMAGED;
    uint32_t sum = dfe_crc32(0, head, sizeof head);
    int blank = erased(head, sizeof head);
    if (blank) {
        int failed = read_over(m, start + DFE_HEADER, m->slot_bytes - DFE_HEADER, &sum, &blank);
        return failed || !blank ? DFE_SLOT_DAMAGED : DFE_SLOT_EMPTY;
    }
    if (!same(head, magic, sizeof magic)) return DFE_SLOT_DAMAGED;
    if (newer(m, start, head)) return DFE_SLOT_NEWER;
    if (header_sum(head) != get32(head + 12) || get32(head + 4) != VERSION ||
        get32(head + 8) != DFE_HEADER)
        return DFE_SLOT_DAMAGED;
    read_header(head, found);
    if (!fits(m, found->state_bytes)) return DFE_SLOT_DAMAGED;
    uint32_t end = commit_at(m, found->state_bytes);
    if (read_over(m, start + DFE_HEADER, end - DFE_HEADER, &sum, &blank)) return DFE_SLOT_DAMAGED;
    if (!committed(m, start + end, sum)) return DFE_SLOT_DAMAGED;
    end += DFE_UP(DFE_COMMIT, m->unit);
    blank = 1;
    return read_over(m, start + end, m->slot_bytes - end, &sum, &blank) || !blank
               ? DFE_SLOT_DAMAGED
               : DFE_SLOT_WHOLE;
}

/* Of numbers that begin anew after the greatest; the slots' are never far apart. */
static int later(uint32_t a, uint32_t b) { return a != b && a - b < UINT32_C(1) << 31; }

int dfe_store_open(dfe_store *store) {
    store->newest = -1;
    if (!good_medium(&store->medium)) return DFE_STORE_MISFIT;
    for (int32_t i = 0; i < 2; i++) {
        found_slot found;
        store->kinds[i] = scan(&store->medium, (uint32_t)i * store->medium.slot_bytes, &found);
        if (store->kinds[i] != DFE_SLOT_WHOLE ||
            (store->newest >= 0 && !later(found.sequence, store->sequence)))
            continue;
        store->newest = i;
        store->sequence = found.sequence;
        store->state_bytes = found.state_bytes;
        store->record = found.record;
    }
    if (store->kinds[0] == DFE_SLOT_NEWER || store->kinds[1] == DFE_SLOT_NEWER)
        return DFE_STORE_NEWER;
    if (store->newest >= 0) return DFE_STORED;
    int empty = store->kinds[0] == DFE_SLOT_EMPTY && store->kinds[1] == DFE_SLOT_EMPTY;
    return empty ? DFE_STORE_EMPTY : DFE_STORE_DAMAGED;
}

int dfe_store_load(const dfe_store *store, void *state, uint32_t state_bytes) {
    const dfe_medium *m = &store->medium;
    if (store->newest < 0 || state_bytes != store->state_bytes) return DFE_STORE_MISFIT;
    uint32_t start = (uint32_t)store->newest * m->slot_bytes, end = commit_at(m, state_bytes);
    uint8_t head[DFE_HEADER];
    write_header(head, &store->record, store->sequence, state_bytes);
    if (m->read(m->context, start + DFE_HEADER, state, state_bytes)) return DFE_STORE_FAILED;
    uint32_t sum = sum_of(m, head, state, state_bytes);
    return committed(m, start + end, sum) ? DFE_STORED : DFE_STORE_DAMAGED;
}

/* Whole units from where they lie, what is left of the last one from the room. */
static int program_state(const dfe_medium *m, uint32_t at, const uint8_t *state, uint32_t bytes) {
    uint32_t whole = bytes / m->unit * m->unit, rest = bytes - whole;
    if (whole && m->program(m->context, at, state, whole)) return DFE_STORE_FAILED;
    if (!rest) return DFE_STORED;
    fill(m->room, ERASED, m->unit);
    for (uint32_t i = 0; i < rest; i++) m->room[i] = state[whole + i];
    return m->program(m->context, at + whole, m->room, m->unit) ? DFE_STORE_FAILED : DFE_STORED;
}

/* All but the commit, on the medium as it was given: flash may be worn. */
static int write_before_commit(const dfe_medium *m, uint32_t start, const uint8_t *head,
                               const void *state, uint32_t state_bytes, uint32_t sum) {
    uint32_t there = 0;
    int blank = 0;
    return !m->erase(m->context, start, m->slot_bytes) &&
           !m->program(m->context, start, head, DFE_HEADER) &&
           !program_state(m, start + DFE_HEADER, state, state_bytes) && !m->flush(m->context) &&
           !read_over(m, start, commit_at(m, state_bytes), &there, &blank) && there == sum;
}

int dfe_store_save(dfe_store *store, const dfe_record *record, const void *state,
                   uint32_t state_bytes) {
    const dfe_medium *m = &store->medium;
    int32_t slot = store->newest == 0;
    if (!good_medium(m) || !fits(m, state_bytes)) return DFE_STORE_MISFIT;
    if (store->kinds[slot] == DFE_SLOT_NEWER) return DFE_STORE_NEWER;
    uint32_t start = (uint32_t)slot * m->slot_bytes, end = commit_at(m, state_bytes);
    uint32_t sequence = store->newest < 0 ? 1 : store->sequence + 1;
    uint8_t head[DFE_HEADER];
    write_header(head, record, sequence, state_bytes);
    uint32_t sum = sum_of(m, head, state, state_bytes);
    store->kinds[slot] = DFE_SLOT_DAMAGED;
    if (!write_before_commit(m, start, head, state, state_bytes, sum)) return DFE_STORE_FAILED;
    uint32_t bytes = write_commit(m, head, sum);
    if (m->program(m->context, start + end, head, bytes) || m->flush(m->context) ||
        !committed(m, start + end, sum))
        return DFE_STORE_FAILED;
    store->newest = slot;
    store->kinds[slot] = DFE_SLOT_WHOLE;
    store->sequence = sequence;
    store->state_bytes = state_bytes;
    store->record = *record;
    return DFE_STORED;
}

int dfe_store_export(const dfe_record *record, const void *state, uint32_t state_bytes,
                     dfe_write write, void *context) {
    const uint32_t used = DFE_SLOT_BYTES(state_bytes, 1);
    const dfe_medium file = {.slot_bytes = DFE_UP(used, DFE_PAGE), .unit = 1};
    uint8_t head[DFE_HEADER];
    write_header(head, record, 1, state_bytes);
    uint32_t sum = sum_of(&file, head, state, state_bytes);
    if (write(context, head, DFE_HEADER) || write(context, state, state_bytes))
        return DFE_STORE_FAILED;
    uint32_t bytes = write_commit(&file, head, sum);
    if (write(context, head, bytes)) return DFE_STORE_FAILED;
    uint32_t left = 2 * file.slot_bytes - used;
    for (fill(head, ERASED, DFE_HEADER); left; left -= bytes) {
        bytes = least(left, DFE_HEADER);
        if (write(context, head, bytes)) return DFE_STORE_FAILED;
    }
    return DFE_STORED;
}
