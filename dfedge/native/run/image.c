#include "image.h"

#include <string.h>

#include "crc32.h"
#include "fail.h"
#include "regular.h"

enum { HEAD = 64, VERSION = 2, LARGEST = 1 << 30 };

static uint32_t number(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void check_head(const char *path, const uint8_t *head) {
    if (!memcmp(head, "DFE1", 4))
        dfe_fail(DFE_DATA, path, "was exported by an older dfedge (format 1, read: %d); export "
                 "again", VERSION);
    if (memcmp(head, "\x89" "DFN", 4))
        dfe_fail(DFE_DATA, path, "is no net.dfe: begins with %02x%02x%02x%02x, not 8944464e; give "
                 "c/net.dfe of a bundle", head[0], head[1], head[2], head[3]);
}

/* The version is believed only where the checksum fits: else it is damage. */
static void check_version(const char *path, const uint8_t *head) {
    if (number(head + 4) != VERSION)
        dfe_fail(DFE_DATA, path, "is of format %u, this dfedge-run reads %d; use the one of its "
                 "bundle", number(head + 4), VERSION);
    if (number(head + 24) != DFE_SEMANTICS)
        dfe_fail(DFE_DATA, path, "is of semantics %u, this dfedge-run computes %d; use the one of "
                 "its bundle", number(head + 24), DFE_SEMANTICS);
}

static void check_program(const char *path, const dfe_program *p, int64_t bytes,
                          int64_t state_bytes) {
    if (bytes < (int64_t)sizeof *p)
        dfe_fail(DFE_DATA, path, "holds a table of %lld bytes, too few; export again",
                 (long long)bytes);
    if (p->abi != DFE_ABI)
        dfe_fail(DFE_DATA, path, "was exported for another version of dfedge-run (%d, this one is "
                 "%d); use the one of its bundle", p->abi, DFE_ABI);
    if (dfe_table_bytes(p) != bytes || p->state_bytes != state_bytes || dfe_check(p) != DFE_OK)
        dfe_fail(DFE_DATA, path, "holds a program that cannot be run; export again");
}

dfe_net dfe_read_net(const char *path) {
    const int32_t one = 1;
    if (*(const char *)&one != 1) dfe_fail(DFE_DATA, path, "needs a little-endian processor");
    int64_t bytes;
    uint8_t head[HEAD];
    FILE *file = dfe_regular(path, &bytes);
    if (bytes < HEAD || bytes > LARGEST)
        dfe_fail(DFE_DATA, path, "is no net.dfe: %lld bytes, allowed: %d to %d; give c/net.dfe of "
                 "a bundle", (long long)bytes, HEAD, LARGEST);
    dfe_read(file, path, head, sizeof head);
    check_head(path, head);
    size_t rest = (size_t)bytes - HEAD, table = (size_t)number(head + 12) * 4;
    size_t state = number(head + 16);
    char *content = dfe_reserve(rest, path);
    dfe_read(file, path, content, rest);
    fclose(file);
    uint32_t sum = dfe_crc32(dfe_crc32(0, head, 8), head + 12, HEAD - 12);
    sum = dfe_crc32(sum, content, rest);
    if (sum != number(head + 8))
        dfe_fail(DFE_DATA, path, "is damaged (its checksum is %08x, should be %08x); copy it again",
                 sum, number(head + 8));
    check_version(path, head);
    if (table > rest || state != rest - table)
        dfe_fail(DFE_DATA, path, "holds a program that cannot be run; export again");
    dfe_net net = {path, (dfe_program *)(void *)content, content + table, NULL,
                   {.bundle_version = number(head + 20), .semantics_version = DFE_SEMANTICS}};
    memcpy(net.own.lineage, head + 32, sizeof net.own.lineage);
    check_program(path, net.program, (int64_t)table, (int64_t)state);
    if (dfe_check_state(net.program, net.first) != DFE_OK)
        dfe_fail(DFE_DATA, path, "holds a state that learning can never reach; export again");
    dfe_identify(net.program, net.first, &net.own);
    net.state = dfe_reserve(state, path);
    memcpy(net.state, net.first, state);
    return net;
}
