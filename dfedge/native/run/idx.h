/* Unsigned bytes in the IDX format of MNIST, read one batch at a time. */
#ifndef DFE_RUN_IDX_H
#define DFE_RUN_IDX_H

#include <stdint.h>
#include <stdio.h>

typedef struct {
    FILE *file;
    const char *path;
    int32_t count, sample_bytes;
} dfe_images;

/* Ends where the file is not as long as it says, or its samples are of another size. */
dfe_images dfe_open_images(const char *path, int32_t sample_bytes);

/* Pass over the first so many. */
void dfe_skip_images(dfe_images *images, int32_t count);

void dfe_read_images(dfe_images *images, int32_t count, uint8_t *into);

#endif
