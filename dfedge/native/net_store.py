"""What is learned, kept in a chip's flash: the store of ``dfedge/store.h`` for one net.

    net_store.h, net_store.c    ``net_load``, ``net_save``, ``net_rebase``, ``net_forget``; and
                                ``net_export``, ``net_import``: a state file of dfedge-run

A linker takes them into a program that calls them, and leaves them out of any other.
"""

HEADER = """/* Made by dfedge export: what is learned, kept in flash; see dfedge/store.h.
 *
 *     static dfe_store flash;
 *     flash.medium.read = ...                    and program, erase, flush: your chip's
 *     flash.medium.unit = 8;                     bytes that are programmed at once
 *     flash.medium.slot_bytes = NET_SLOT_BYTES(4096, 8);    of whole sectors of 4,096 bytes
 *     net_load(&flash);                          in the place of net_reset
 *     ...
 *     net_save(&flash);
 *
 * Two slots of so many bytes are written in turn, so that a loss of power at any moment leaves the
 * last save.  By NET_SLOT_BYTES(4096, 1) what lies there is a state file of dfedge-run.
 */
#ifndef NET_STORE_H
#define NET_STORE_H

#include "dfedge/rebase.h"
#include "net.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of one slot; the medium holds two. */
#define NET_SLOT_BYTES(sector, unit) DFE_UP(DFE_SLOT_BYTES(NET_STATE_BYTES, unit), sector)

/* Each gives an enum dfe_store_status.
 *
 * Open the store and go on from the newest state.  Where this is not DFE_STORED, the net is as it
 * was exported.  DFE_STORE_FOREIGN: what lies there is of another net. */
int net_load(dfe_store *store);

/* The same of a state that an older program of this lineage and layout has left (dfe_rebase). */
int net_rebase(dfe_store *store);

/* Save state and record.  DFE_STORE_CLOSED: it was not opened by a net_load that found the net's
 * own state, or none; what is foreign is not written over. */
int net_save(dfe_store *store);

/* Erase both slots, whatever lies there: the net is as it was exported. */
int net_forget(dfe_store *store);

/* What is learned now as a state file of dfedge-run, of NET_FILE_BYTES, in pieces: for a fleet
 * (dfedge fleet delta --state), for another device of this net, or for dfedge-run.  Flash is left
 * alone. */
#define NET_FILE_BYTES (2 * NET_SLOT_BYTES(DFE_PAGE, 1))
int net_export(dfe_write write, void *context);

/* Go on from such a file (dfedge fleet take --c), which `read` gives bytes of, as a medium's does.
 * net_save keeps it.  Where this is not DFE_STORED nothing changed; only after DFE_STORE_FAILED and
 * DFE_STORE_DAMAGED, which a file that changes as it is read may lead to, the net is as it was
 * exported: call net_load. */
int net_import(int (*read)(void *context, uint32_t at, void *into, uint32_t bytes),
               void *context);

#ifdef __cplusplus
}
#endif

#endif
"""

SOURCE = """/* Made by dfedge export: what is learned, kept in flash. */
#include "net_store.h"

static uint8_t room[DFE_ROOM];
static dfe_record own;
static const dfe_store *opened; /* that may be written */

static void identify(void) {
    const dfe_record blank = NET_RECORD;
    own = blank;
    dfe_identify(net_program(), net_first(), &own);
}

static void begin(dfe_store *store) {
    identify();
    opened = NULL;
    net_reset();
    if (store->medium.room) return;
    store->medium.room = room;
    store->medium.room_bytes = sizeof room;
}

static void count(const dfe_record *found) {
    net_counts *counts = net_learned();
    counts->steps = found->steps;
    counts->samples = found->samples;
    counts->doublings = found->doublings;
    counts->caution = found->caution;
}

static void tell(void) {
    const net_counts *counts = net_learned();
    own.steps = counts->steps;
    own.samples = counts->samples;
    own.doublings = counts->doublings;
    own.caution = counts->caution;
}

/* The newest state, where it belongs to this program as is wanted. */
static int take(const dfe_store *store, int wanted) {
    if (dfe_belonging(&store->record, &own) != wanted) return DFE_STORE_FOREIGN;
    int status = dfe_store_load(store, net_state(), NET_STATE_BYTES);
    if (status != DFE_STORED) return status;
    if (wanted == DFE_ANOTHER_PROGRAM)
        dfe_rebase(net_program(), net_first(), net_state(), &store->record, &own);
    return dfe_check_state(net_program(), net_state()) == DFE_OK ? DFE_STORED : DFE_STORE_DAMAGED;
}

static int load(dfe_store *store, int wanted) {
    begin(store);
    int status = dfe_store_open(store), found = status == DFE_STORED;
    if (found) status = take(store, wanted);
    if (found && status != DFE_STORED) net_reset();
    if (status == DFE_STORED) count(&store->record);
    if (status == DFE_STORED || status == DFE_STORE_EMPTY || status == DFE_STORE_DAMAGED)
        opened = store;
    return status;
}

int net_load(dfe_store *store) { return load(store, DFE_OWN); }

int net_rebase(dfe_store *store) { return load(store, DFE_ANOTHER_PROGRAM); }

int net_save(dfe_store *store) {
    if (opened != store) return DFE_STORE_CLOSED;
    if (net_busy()) return DFE_STORE_BUSY;
    tell();
    return dfe_store_save(store, &own, net_state(), NET_STATE_BYTES);
}

int net_forget(dfe_store *store) {
    begin(store);
    const dfe_medium *m = &store->medium;
    if (m->erase(m->context, 0, m->slot_bytes) ||
        m->erase(m->context, m->slot_bytes, m->slot_bytes) || m->flush(m->context))
        return DFE_STORE_FAILED;
    return load(store, DFE_OWN) == DFE_STORE_EMPTY ? DFE_STORED : DFE_STORE_FAILED;
}

int net_export(dfe_write write, void *context) {
    if (net_busy()) return DFE_STORE_BUSY;
    identify();
    tell();
    return dfe_store_export(&own, net_state(), NET_STATE_BYTES, write, context);
}

int net_import(int (*read)(void *context, uint32_t at, void *into, uint32_t bytes),
               void *context) {
    dfe_store file = {.medium = {.read = read,
                                 .context = context,
                                 .slot_bytes = NET_SLOT_BYTES(DFE_PAGE, 1),
                                 .unit = 1,
                                 .room = room,
                                 .room_bytes = sizeof room}};
    if (net_busy()) return DFE_STORE_BUSY;
    identify();
    int status = dfe_store_open(&file);
    if (status != DFE_STORED) return status;
    if (dfe_belonging(&file.record, &own) != DFE_OWN) return DFE_STORE_FOREIGN;
    status = take(&file, DFE_OWN);
    if (status == DFE_STORED) count(&file.record);
    else net_reset();
    return status;
}
"""

FILES = {"net_store.h": HEADER, "net_store.c": SOURCE}
