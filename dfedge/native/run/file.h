/* What dfedge-run reads and writes: programs, states, and images in the IDX format of MNIST.
 *
 *     net.dfe    "DFE1", words, state bytes, the table's words, the first state    (c/ of a bundle)
 *     a state    "DFS1", checksum of the table, state bytes, the state
 *
 * All numbers are little-endian int32; a state's tensors lie as the table says, so a processor of the
 * other byte order is refused.
 */
#ifndef DFE_RUN_FILE_H
#define DFE_RUN_FILE_H

#include <stdio.h>

#include "dfedge.h"

typedef struct {
    dfe_program *program;
    void *state;
} dfe_net;

/* A file of unsigned bytes, read one sample at a time. */
typedef struct {
    FILE *file;
    const char *path;
    int32_t count, sample_bytes;
} dfe_images;

/* Print what is wrong with a file and end with exit code 1. */
void dfe_fail(const char *path, const char *why);

dfe_net dfe_read_net(const char *path);

/* Replaces what the program starts from; returns 0 where no file is. */
int dfe_read_state(const char *path, const dfe_net *net);

/* Written beside it and renamed, so that it appears whole. */
void dfe_write_state(const char *path, const dfe_net *net);

dfe_images dfe_open_images(const char *path, int32_t sample_bytes);
void dfe_read_images(dfe_images *images, int32_t count, uint8_t *into);

#endif
