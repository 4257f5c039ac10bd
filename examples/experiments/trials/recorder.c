/* Loaded before a program (LD_PRELOAD): notes what it asks of the disk, in the file $DFEDGE_CALLS.
 *
 * Each note: the call, the file's inode, a place, a length (three uint64 after one byte), then as
 * many bytes of data.  What is printed and flushed counts as told to the user.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void note(char call, uint64_t file, uint64_t at, const void *data, uint64_t bytes) {
    static int out = -1;
    char head[25] = {call};
    uint64_t numbers[3] = {file, at, bytes};
    const char *path = getenv("DFEDGE_CALLS");
    if (out < 0 && path) out = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    memcpy(head + 1, numbers, sizeof numbers);
    if (write(out, head, sizeof head) < 0 || (bytes && write(out, data, bytes) < 0)) abort();
}

static uint64_t inode(int file) {
    struct stat found;
    return fstat(file, &found) ? 0 : (uint64_t)found.st_ino;
}

#define OPEN(name)                                                         \
    int name(const char *path, int flags, ...) {                           \
        va_list more;                                                      \
        va_start(more, flags);                                             \
        int mode = flags & O_CREAT ? va_arg(more, int) : 0;                \
        va_end(more);                                                      \
        int file = REAL(name)(path, flags, mode);                          \
        if (file >= 0 && flags & O_CREAT)                                  \
            note('c', inode(file), 0, path, strlen(path));                 \
        return file;                                                       \
    }
#define PWRITE(name, offset)                                               \
    ssize_t name(int file, const void *from, size_t bytes, offset at) {    \
        ssize_t done = REAL(name)(file, from, bytes, at);                  \
        if (done > 0) note('w', inode(file), (uint64_t)at, from, (uint64_t)done); \
        return done;                                                       \
    }
#define FTRUNCATE(name, offset)                                            \
    int name(int file, offset bytes) {                                     \
        int status = REAL(name)(file, bytes);                              \
        if (!status) note('t', inode(file), (uint64_t)bytes, NULL, 0);     \
        return status;                                                     \
    }

OPEN(open)
OPEN(open64)
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

int fsync(int file) {
    int status = REAL(fsync)(file);
    if (!status) note('s', inode(file), 0, NULL, 0);
    return status;
}

int rename(const char *from, const char *to) {
    int status = REAL(rename)(from, to);
    if (!status) note('r', 0, 0, to, strlen(to));
    return status;
}

int fflush(FILE *stream) {
    int status = REAL(fflush)(stream);
    if (stream == stdout) note('a', 0, 0, NULL, 0);
    return status;
}
