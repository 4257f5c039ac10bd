/* A state file: one file of two slots (store.h), which one process at a time writes. */
#ifndef DFE_RUN_STATE_H
#define DFE_RUN_STATE_H

#include "disk.h"
#include "image.h"

typedef struct {
    const char *path;
    dfe_disk disk;
    dfe_store store;
    dfe_record record; /* of the net's state as it is now */
} dfe_state_file;

/* Read what was learned into the net's state, and let the file go. */
void dfe_read_state(const char *path, dfe_net *net);

/* The same, or a new file with the first state; locked until the process ends. */
void dfe_open_state(dfe_state_file *opened, const char *path, dfe_net *net);

/* Once it returns, nothing but damage undoes it. */
void dfe_save_state(dfe_state_file *opened, const dfe_net *net);

/* Carry over what was learned with an earlier program of the net's lineage, and save it. */
void dfe_rebase_state(const char *path, dfe_net *net);

#endif
