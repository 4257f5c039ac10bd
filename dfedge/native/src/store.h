/* What was learned, kept where the power may go at any moment: in a chip's flash, or in a file.
 *
 * Two slots, each a whole state with its record.  A save writes the slot that is not the newest, so
 * that the newest is there until another one is whole.  A slot counts once its last unit, the
 * commit, is programmed, which is done after all before it is on the medium.  A checksum covers
 * every bit.
 *
 *     offset  bytes  what                          numbers are little-endian, sizes in bytes
 *     0       4      89 "DFS"
 *     4       4      version of this format, 2
 *     8       4      h, size of the header, 128
 *     12      4      CRC-32 of bytes 0 to 11 and 16 to h
 *     16      4      sequence number: one more with every save, and after the greatest comes 0
 *     20      4      n, size of the state
 *     24      4      identity of the program    (rebase.h)
 *     28      4      layout of the state        (rebase.h)
 *     32      32     lineage, SHA-256; zeros: none
 *     64      4      version of the bundle
 *     68      4      version of the semantics
 *     72      8      update steps
 *     80      8      samples learned
 *     88      4      doublings, as dfe_care has them
 *     92      4      caution
 *     96      ...    zeros, up to h
 *     h       n      the state as it lies in memory
 *     h + n   ...    FF, up to a multiple of the unit
 *     c       8      the commit: "DONE", CRC-32 of bytes 0 to c
 *     c + 8   ...    FF, up to the end of the slot
 *
 * The first 16 bytes mean the same in every version, so that a slot of a newer dfedge can be told
 * from a damaged one.  (Version 1 was a file of dfedge-run without a checksum.)
 *
 * Nothing is allocated; the stack holds one header.  A chip's firmware:
 *
 *     static uint8_t room[DFE_ROOM];
 *     dfe_store store = {.medium = {read, program, erase, flush, 0, SLOT, UNIT, room, DFE_ROOM}};
 *     if (dfe_store_open(&store) == DFE_STORED)
 *         dfe_store_load(&store, net_state(), NET_STATE_BYTES);
 *     ...
 *     dfe_store_save(&store, &record, net_state(), NET_STATE_BYTES);
 */
#ifndef DFE_STORE_H
#define DFE_STORE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DFE_HEADER = 128, DFE_MOST_UNIT = 128, DFE_ROOM = 128, DFE_COMMIT = 8 };

/* What both slots of a state file of dfedge-run are multiples of. */
enum { DFE_PAGE = 4096 };

/* Bytes of one slot; on flash, to be rounded up to whole sectors. */
#define DFE_UP(bytes, unit) (((uint32_t)(bytes) + (unit) - 1) / (unit) * (unit))
#define DFE_SLOT_BYTES(state_bytes, unit) \
    (DFE_UP(DFE_HEADER + (uint32_t)(state_bytes), unit) + DFE_UP(DFE_COMMIT, unit))

enum dfe_store_status {
    DFE_STORED,
    DFE_STORE_EMPTY,   /* nothing was ever saved */
    DFE_STORE_DAMAGED, /* no slot is whole: damage, or the first save was cut short */
    DFE_STORE_NEWER,   /* a slot of a newer format, which is not written over */
    DFE_STORE_FAILED,  /* the medium could not, or gave back other bytes than were programmed */
    DFE_STORE_MISFIT,  /* sizes of medium and state that do not go together */
    DFE_STORE_FOREIGN, /* a state of another program, which NAME_load of an export does not take */
    DFE_STORE_CLOSED,  /* NAME_save before a NAME_load that found the net's own state, or none */
    DFE_STORE_BUSY,    /* of an export: learning in slices is not done; NAME_go on, or NAME_load */
};

enum dfe_slot_kind { DFE_SLOT_EMPTY, DFE_SLOT_DAMAGED, DFE_SLOT_NEWER, DFE_SLOT_WHOLE };

/* Slot 0 begins at 0, slot 1 at slot_bytes.  Each call gives 0 where it was done. */
typedef struct {
    int (*read)(void *context, uint32_t at, void *into, uint32_t bytes);
    /* `at` and `bytes` are multiples of `unit`; of these bytes all were erased.  An FF need not be
     * programmed.  `from` may begin at any address. */
    int (*program)(void *context, uint32_t at, const void *from, uint32_t bytes);
    /* One whole slot to FF. */
    int (*erase)(void *context, uint32_t at, uint32_t bytes);
    /* Returns once all that was programmed survives a loss of power. */
    int (*flush)(void *context);
    void *context;
    uint32_t slot_bytes;
    uint32_t unit; /* the least that is programmed at once: a power of two up to DFE_MOST_UNIT */
    uint8_t *room; /* to read into */
    uint32_t room_bytes; /* DFE_ROOM or more */
} dfe_medium;

/* What a state says of itself. */
typedef struct {
    uint32_t program, layout;
    uint8_t lineage[32];
    uint32_t bundle_version, semantics_version;
    uint64_t steps, samples;
    int32_t doublings, caution; /* of dfe_care, to be set again */
} dfe_record;

typedef struct {
    dfe_medium medium; /* set by the caller */

    /* To be read only, after dfe_store_open: */
    int32_t newest;    /* slot; -1: none is whole */
    int32_t kinds[2];  /* of both slots, an enum dfe_slot_kind */
    uint32_t sequence; /* of the newest, and the size of its state */
    uint32_t state_bytes;
    dfe_record record;
} dfe_store;

/* Find the newest whole slot; `kinds` tell what was passed over for it. */
int dfe_store_open(dfe_store *store);

/* The newest state, checked as it lies in memory.  DFE_STORE_DAMAGED: it changed since it was
 * found, and what is in memory is of no use; open again.  See dfedge/rebase.h for whether it is the
 * program's own, and check its values: dfe_check_state. */
int dfe_store_load(const dfe_store *store, void *state, uint32_t state_bytes);

/* Write the other slot, read it back, commit it.  Where this fails, the newest is as it was; a save
 * that failed last of all may be found by the next dfe_store_open. */
int dfe_store_save(dfe_store *store, const dfe_record *record, const void *state,
                   uint32_t state_bytes);

/* Gives 0 where it was done. */
typedef int (*dfe_write)(void *context, const void *from, uint32_t bytes);

/* A state file of dfedge-run with this state alone, from its first byte to its last, in pieces of
 * any size: for a serial line, or a radio.  Needs no room but the stack. */
int dfe_store_export(const dfe_record *record, const void *state, uint32_t state_bytes,
                     dfe_write write, void *context);

#ifdef __cplusplus
}
#endif

#endif
