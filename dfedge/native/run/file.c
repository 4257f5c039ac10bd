#include "file.h"

#include <stdlib.h>
#include <string.h>

enum { LARGEST = 1 << 30, PATH_BYTES = 4096 };

void dfe_fail(const char *path, const char *why) {
    fprintf(stderr, "dfedge-run: %s: %s\n", path, why);
    exit(1);
}

static FILE *opened(const char *path, const char *mode) {
    FILE *file = fopen(path, mode);
    if (!file) dfe_fail(path, "cannot be opened");
    return file;
}

static void *reserved(const char *path, size_t bytes) {
    void *block = malloc(bytes ? bytes : 1);
    if (!block) dfe_fail(path, "needs more memory than there is");
    return block;
}

static void whole(FILE *file, const char *path, void *into, size_t bytes) {
    if (fread(into, 1, bytes, file) != bytes) dfe_fail(path, "ends too early; copy it again");
}

static int32_t number(FILE *file, const char *path) {
    uint8_t b[4];
    whole(file, path, b, sizeof b);
    return (int32_t)((uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
                     (uint32_t)b[3] << 24);
}

static void magic(FILE *file, const char *path, const char *wanted) {
    char found[4];
    whole(file, path, found, sizeof found);
    if (memcmp(found, wanted, sizeof found)) dfe_fail(path, "is no such file of dfedge");
}

static int32_t size(FILE *file, const char *path) {
    int32_t found = number(file, path);
    if (found < 0 || found > LARGEST) dfe_fail(path, "is damaged; copy it again");
    return found;
}

dfe_net dfe_read_net(const char *path) {
    const int32_t one = 1;
    if (*(const char *)&one != 1) dfe_fail(path, "needs a little-endian processor");
    FILE *file = opened(path, "rb");
    magic(file, path, "DFE1");
    int32_t words = size(file, path), bytes = size(file, path);
    if ((size_t)words * sizeof words < sizeof(dfe_program))
        dfe_fail(path, "is damaged; copy it again");
    int32_t *table = reserved(path, (size_t)words * sizeof *table);
    for (int32_t i = 0; i < words; i++) table[i] = number(file, path);
    dfe_net net = {(dfe_program *)table, NULL};
    if (net.program->abi != DFE_ABI)
        dfe_fail(path, "was exported for another version of dfedge-run; export again");
    int64_t wanted = dfe_table_bytes(net.program);
    if (wanted != words * (int64_t)sizeof *table || net.program->state_bytes != bytes ||
        dfe_check(net.program) != DFE_OK)
        dfe_fail(path, "holds a program that cannot be run; export again");
    net.state = reserved(path, (size_t)bytes);
    whole(file, path, net.state, (size_t)bytes);
    if (fgetc(file) != EOF) dfe_fail(path, "is longer than it should be; copy it again");
    fclose(file);
    if (dfe_check_state(net.program, net.state) != DFE_OK)
        dfe_fail(path, "holds a state that learning can never reach; export again");
    return net;
}

/* FNV-1a over the table: which program a state belongs to. */
static int32_t checksum(const dfe_program *program) {
    const int32_t *words = (const int32_t *)program;
    int64_t count = dfe_table_bytes(program) / (int64_t)sizeof *words;
    uint32_t sum = 2166136261u;
    for (int64_t i = 0; i < count; i++)
        for (int shift = 0; shift < 32; shift += 8)
            sum = (sum ^ ((uint32_t)words[i] >> shift & 255)) * 16777619u;
    return (int32_t)sum;
}

int dfe_read_state(const char *path, const dfe_net *net) {
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    magic(file, path, "DFS1");
    if (number(file, path) != checksum(net->program) ||
        number(file, path) != net->program->state_bytes)
        dfe_fail(path, "belongs to another program; choose another --state");
    whole(file, path, net->state, (size_t)net->program->state_bytes);
    fclose(file);
    if (dfe_check_state(net->program, net->state) != DFE_OK)
        dfe_fail(path, "holds a value that learning can never reach; delete it to start anew");
    return 1;
}

static void put(FILE *file, int32_t v) {
    for (int shift = 0; shift < 32; shift += 8) fputc((int)((uint32_t)v >> shift & 255), file);
}

void dfe_write_state(const char *path, const dfe_net *net) {
    char beside[PATH_BYTES];
    if (snprintf(beside, sizeof beside, "%s.tmp", path) >= PATH_BYTES)
        dfe_fail(path, "is too long a path");
    FILE *file = opened(beside, "wb");
    size_t bytes = (size_t)net->program->state_bytes;
    fwrite("DFS1", 1, 4, file);
    put(file, checksum(net->program));
    put(file, net->program->state_bytes);
    int good = fwrite(net->state, 1, bytes, file) == bytes;
    good = !fclose(file) && good;
    if (!good || rename(beside, path)) dfe_fail(path, "cannot be written");
}

/* IDX: two zeros, 8 for bytes, dimensions; big-endian sizes; the bytes. */
dfe_images dfe_open_images(const char *path, int32_t sample_bytes) {
    dfe_images images = {opened(path, "rb"), path, 0, sample_bytes};
    uint8_t head[4], side[4];
    whole(images.file, path, head, sizeof head);
    if (head[0] || head[1] || head[2] != 8 || !head[3] || head[3] > 4)
        dfe_fail(path, "is no IDX file of unsigned bytes");
    int64_t values = 1;
    for (int i = 0; i < head[3]; i++) {
        whole(images.file, path, side, sizeof side);
        int32_t n = (int32_t)((uint32_t)side[0] << 24 | (uint32_t)side[1] << 16 |
                              (uint32_t)side[2] << 8 | (uint32_t)side[3]);
        if (n < 1 || n > LARGEST) dfe_fail(path, "is damaged; copy it again");
        if (i == 0) images.count = n;
        else values *= n;
        if (values > LARGEST) dfe_fail(path, "is damaged; copy it again");
    }
    if (values != sample_bytes) dfe_fail(path, "holds samples of another shape than the program's");
    return images;
}

void dfe_read_images(dfe_images *images, int32_t count, uint8_t *into) {
    whole(images->file, images->path, into, (size_t)count * (size_t)images->sample_bytes);
}
