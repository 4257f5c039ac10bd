#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include "idx.h"

#include "fail.h"
#include "regular.h"

enum { LARGEST = 1 << 30 };

/* IDX: two zeros, 8 for bytes, dimensions; big-endian sizes; the bytes. */
dfe_images dfe_open_images(const char *path, int32_t sample_bytes) {
    int64_t bytes, values = 1;
    dfe_images images = {dfe_regular(path, &bytes), path, 0, sample_bytes};
    uint8_t head[4], side[4];
    if (bytes < 8)
        dfe_fail(DFE_DATA, path, "is no IDX file: %lld bytes, allowed: 8 or more",
                 (long long)bytes);
    dfe_read(images.file, path, head, sizeof head);
    if (head[0] || head[1] || head[2] != 8 || !head[3] || head[3] > 4)
        dfe_fail(DFE_DATA, path, "is no IDX file of unsigned bytes: begins with %02x%02x%02x%02x, "
                 "allowed: 00000801 to 00000804", head[0], head[1], head[2], head[3]);
    for (int i = 0; i < head[3]; i++) {
        dfe_read(images.file, path, side, sizeof side);
        uint32_t n = (uint32_t)side[0] << 24 | (uint32_t)side[1] << 16 | (uint32_t)side[2] << 8 |
                     side[3];
        if (n < 1 || n > LARGEST)
            dfe_fail(DFE_DATA, path, "is damaged: a side of %u, allowed: 1 to %d; copy it again", n,
                     LARGEST);
        if (i == 0) images.count = (int32_t)n;
        else values *= n;
        if (values > LARGEST)
            dfe_fail(DFE_DATA, path, "is damaged: samples of more than %d bytes; copy it again",
                     LARGEST);
    }
    if (values != sample_bytes)
        dfe_fail(DFE_DATA, path, "holds samples of another shape than the program's: %lld bytes, "
                 "allowed: %d", (long long)values, sample_bytes);
    int64_t wanted = 4 + 4 * head[3] + images.count * values;
    if (bytes != wanted)
        dfe_fail(DFE_DATA, path, "is damaged: %lld bytes, its header asks for %lld; copy it again",
                 (long long)bytes, (long long)wanted);
    return images;
}

void dfe_skip_images(dfe_images *images, int32_t count) {
    if (fseeko(images->file, (off_t)count * images->sample_bytes, SEEK_CUR))
        dfe_fail(DFE_DATA, images->path, "cannot be read to its end; copy it again");
}

void dfe_read_images(dfe_images *images, int32_t count, uint8_t *into) {
    dfe_read(images->file, images->path, into, (size_t)count * (size_t)images->sample_bytes);
}
