#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include "disk.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"

enum { ROOM = 1 << 16 };

static int failed(dfe_disk *disk, int error) {
    disk->error = error;
    return 1;
}

static int read_file(void *context, uint32_t at, void *into, uint32_t bytes) {
    dfe_disk *disk = context;
    uint8_t *to = into;
    while (bytes) {
        ssize_t n = pread(disk->file, to, bytes, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return failed(disk, n ? errno : 0);
        to += n;
        at += (uint32_t)n;
        bytes -= (uint32_t)n;
    }
    return 0;
}

static int write_file(void *context, uint32_t at, const void *from, uint32_t bytes) {
    dfe_disk *disk = context;
    const uint8_t *of = from;
    while (bytes) {
        ssize_t n = pwrite(disk->file, of, bytes, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return failed(disk, n ? errno : ENOSPC);
        of += n;
        at += (uint32_t)n;
        bytes -= (uint32_t)n;
    }
    return 0;
}

static int erase_file(void *context, uint32_t at, uint32_t bytes) {
    uint8_t page[DFE_PAGE];
    memset(page, 0xFF, sizeof page);
    for (uint32_t i = 0; i < bytes; i += DFE_PAGE)
        if (write_file(context, at + i, page, DFE_PAGE)) return 1;
    return 0;
}

static int flush_file(void *context) {
    dfe_disk *disk = context;
    int status;
    do status = fsync(disk->file);
    while (status && errno == EINTR);
    return status ? failed(disk, errno) : 0;
}

dfe_medium dfe_disk_medium(dfe_disk *disk, uint32_t state_bytes, const char *path) {
    return (dfe_medium){read_file, write_file, erase_file, flush_file, disk,
                        DFE_UP(DFE_SLOT_BYTES(state_bytes, 1), DFE_PAGE), 1,
                        dfe_reserve(ROOM, path), ROOM};
}
