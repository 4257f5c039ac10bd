#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include "regular.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"

int dfe_open_regular(const char *path, int flags) {
    struct stat found;
    int file;
    do file = open(path, flags | O_NONBLOCK | O_CLOEXEC, 0666);
    while (file < 0 && errno == EINTR);
    if (file < 0) return -1;
    if (!fstat(file, &found) && S_ISREG(found.st_mode)) return file;
    close(file);
    errno = 0;
    return -1;
}

const char *dfe_why(void) {
    return errno && errno != EISDIR && errno != ENXIO ? strerror(errno) : "no regular file";
}

FILE *dfe_regular(const char *path, int64_t *bytes) {
    struct stat found;
    int descriptor = dfe_open_regular(path, O_RDONLY);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "rb");
    if (!file || fstat(descriptor, &found))
        dfe_fail(DFE_DATA, path, "cannot be read (%s)", dfe_why());
    *bytes = found.st_size;
    return file;
}

void dfe_read(FILE *file, const char *path, void *into, size_t bytes) {
    if (fread(into, 1, bytes, file) != bytes)
        dfe_fail(DFE_DATA, path, "cannot be read to its end; copy it again");
}
