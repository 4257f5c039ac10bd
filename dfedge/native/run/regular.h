/* A stranger's file, opened without waiting: a pipe keeps its reader, a device never ends. */
#ifndef DFE_RUN_REGULAR_H
#define DFE_RUN_REGULAR_H

#include <stdint.h>
#include <stdio.h>

/* A descriptor of a regular file, or -1 with `errno`, which is 0 where it is no regular file;
 * `flags` as open() has them. */
int dfe_open_regular(const char *path, int flags);

/* To be read; ends where it is not there or no regular file. */
FILE *dfe_regular(const char *path, int64_t *bytes);

/* Ends where the file ends earlier, or cannot be read. */
void dfe_read(FILE *file, const char *path, void *into, size_t bytes);

/* What keeps a path from being opened, in words, of `errno`. */
const char *dfe_why(void);

#endif
