/* A file as the medium of a store (store.h). */
#ifndef DFE_RUN_DISK_H
#define DFE_RUN_DISK_H

#include "store.h"

typedef struct {
    int file;  /* a descriptor */
    int error; /* errno of what failed last */
} dfe_disk;

/* Both slots begin at a page: what a loss of power tears of one is never the other's. */
dfe_medium dfe_disk_medium(dfe_disk *disk, uint32_t state_bytes, const char *path);

#endif
