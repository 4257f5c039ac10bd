#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"
#include "regular.h"

enum { PATH_BYTES = 4096, TRIES = 16 };

static void cannot_write(const dfe_state_file *f, int error) {
    dfe_fail(DFE_MACHINE, f->path, "cannot be written (%s); what was saved before is as it was "
             "(save %u); make room or choose another --state",
             error ? strerror(error) : "it does not hold what was written", f->store.sequence);
}

/* Whether a name still leads to an open file: it may be renamed while its lock is waited for. */
static int leads_to(const char *path, int file) {
    struct stat named, found;
    return !stat(path, &named) && !fstat(file, &found) && named.st_dev == found.st_dev &&
           named.st_ino == found.st_ino;
}

static void lock(const dfe_state_file *f) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(f->disk.file, F_SETLK, &whole) >= 0) return;
    if (errno == EACCES || errno == EAGAIN)
        dfe_fail(DFE_MACHINE, f->path, "is in use by another process that learns; wait for its "
                 "end, or choose another --state");
    dfe_fail(DFE_MACHINE, f->path, "cannot be locked (%s); choose another --state",
             strerror(errno));
}

static void flush_folder(const dfe_state_file *f) {
    char folder[PATH_BYTES];
    const char *end = strrchr(f->path, '/');
    size_t length = end ? (size_t)(end - f->path) + 1 : 1;
    memcpy(folder, end ? f->path : ".", length);
    folder[length] = 0;
    int descriptor = open(folder, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 || fsync(descriptor)) cannot_write(f, errno);
    close(descriptor);
}

/* A name beside the file, under which it is made. */
static void name_beside(const dfe_state_file *f, char *name) {
    if (snprintf(name, PATH_BYTES, "%s.new", f->path) >= PATH_BYTES)
        dfe_fail(DFE_DATA, f->path, "is too long a path; choose another --state");
}

/* The file bears its name only once a whole state is in it: none ever says nothing. */
static int make(dfe_state_file *f, dfe_net *net) {
    char beside[PATH_BYTES];
    name_beside(f, beside);
    f->disk.file = dfe_open_regular(beside, O_RDWR | O_CREAT | O_NOFOLLOW);
    if (f->disk.file < 0) cannot_write(f, errno);
    lock(f);
    if (!leads_to(beside, f->disk.file)) return 0;
    if (!access(f->path, F_OK)) { /* another process was first */
        unlink(beside);
        return 0;
    }
    const dfe_medium *m = &f->store.medium;
    f->store.newest = -1;
    f->store.sequence = 0;
    f->store.kinds[0] = f->store.kinds[1] = DFE_SLOT_EMPTY;
    if (ftruncate(f->disk.file, 0) || m->erase(m->context, m->slot_bytes, m->slot_bytes) ||
        dfe_store_save(&f->store, &net->own, net->state, (uint32_t)net->program->state_bytes)) {
        int error = f->disk.error ? f->disk.error : errno;
        unlink(beside);
        cannot_write(f, error);
    }
    if (rename(beside, f->path)) cannot_write(f, errno);
    flush_folder(f);
    return 1;
}

static void check_format(const dfe_state_file *f) {
    char begin[4];
    if (pread(f->disk.file, begin, sizeof begin, 0) == sizeof begin && !memcmp(begin, "DFS1", 4))
        dfe_fail(DFE_DATA, f->path, "is of an older dfedge-run (DFS1), which had no checksums; "
                 "delete it to start anew");
}

static void check_belonging(const dfe_state_file *f, const dfe_net *net, int foreign) {
    const dfe_record *found = &f->store.record;
    switch (dfe_belonging(found, &net->own)) {
    case DFE_OWN:
        if (foreign)
            dfe_fail(DFE_DATA, f->path, "belongs to %s already; nothing to carry over", net->path);
        return;
    case DFE_ANOTHER_PROGRAM:
        if (foreign) return;
        dfe_fail(DFE_DATA, f->path, "belongs to another program of the same lineage; to carry it "
                 "over: dfedge-run rebase %s --state %s", net->path, f->path);
    case DFE_ROLLED_BACK:
        dfe_fail(DFE_DATA, net->path, "is version %u, and %s was learned with version %u: the "
                 "bundle was rolled back; take version %u or more, or choose another --state",
                 net->own.bundle_version, f->path, found->bundle_version, found->bundle_version);
    case DFE_ANOTHER_LAYOUT:
        dfe_fail(DFE_DATA, f->path, "belongs to another program of the same lineage, whose classes "
                 "or rule are others; choose another --state");
    default:
        dfe_fail(DFE_DATA, f->path, "belongs to another program; choose another --state");
    }
}

static void tell_passed_over(const dfe_state_file *f) {
    const dfe_store *s = &f->store;
    int32_t other = 1 - s->newest;
    if (s->kinds[other] == DFE_SLOT_DAMAGED ||
        (s->kinds[other] == DFE_SLOT_EMPTY && s->sequence > 1))
        dfe_note(f->path, "slot %c is %s; opened slot %c (save %u)", 'A' + other,
                 s->kinds[other] == DFE_SLOT_EMPTY ? "empty"
                                                   : "damaged, or its save was cut short",
                 'A' + s->newest, s->sequence);
}

/* While another process saves, a slot may change between two looks at it. */
static void load(dfe_state_file *f, dfe_net *net, int foreign) {
    uint32_t bytes = (uint32_t)net->program->state_bytes;
    check_format(f);
    for (int i = 0;; i++) {
        int status = dfe_store_open(&f->store);
        if (status == DFE_STORE_NEWER)
            dfe_fail(DFE_DATA, f->path, "was written by a newer dfedge-run; use that one");
        if (status != DFE_STORED && i == TRIES)
            dfe_fail(DFE_DATA, f->path, "holds no valid slot; copy it again, or delete it "
                     "to start anew");
        if (status != DFE_STORED) continue;
        check_belonging(f, net, foreign);
        if (f->store.state_bytes == bytes &&
            dfe_store_load(&f->store, net->state, bytes) == DFE_STORED)
            break;
        if (i == TRIES) dfe_fail(DFE_DATA, f->path, "changes while it is read; try again");
    }
    struct stat found;
    if (fstat(f->disk.file, &found) || found.st_size > 2 * (off_t)f->store.medium.slot_bytes)
        dfe_fail(DFE_DATA, f->path, "is longer than it should be; copy it again");
    tell_passed_over(f);
    if (dfe_check_state(net->program, net->state) != DFE_OK)
        dfe_fail(DFE_DATA, f->path, "holds a value that learning can never reach; delete it to "
                 "start anew");
    f->record = net->own; /* whose version may be higher */
    f->record.steps = f->store.record.steps;
    f->record.samples = f->store.record.samples;
    f->record.doublings = f->store.record.doublings;
    f->record.caution = f->store.record.caution;
}

static void begin(dfe_state_file *f, const char *path, const dfe_net *net) {
    memset(f, 0, sizeof *f);
    f->path = path;
    f->store.medium = dfe_disk_medium(&f->disk, (uint32_t)net->program->state_bytes, path);
}

static int open_locked(dfe_state_file *f) {
    f->disk.file = dfe_open_regular(f->path, O_RDWR);
    if (f->disk.file < 0 && errno == ENOENT) return 0;
    if (f->disk.file < 0)
        dfe_fail(errno == EACCES || errno == EROFS ? DFE_MACHINE : DFE_DATA, f->path,
                 "cannot be opened (%s); choose another --state", dfe_why());
    lock(f);
    return leads_to(f->path, f->disk.file);
}

void dfe_read_state(const char *path, dfe_net *net) {
    dfe_state_file f;
    begin(&f, path, net);
    f.disk.file = dfe_open_regular(path, O_RDONLY);
    if (f.disk.file < 0) dfe_fail(DFE_DATA, path, "cannot be opened (%s)", dfe_why());
    load(&f, net, 0);
    close(f.disk.file);
    free(f.store.medium.room);
}

void dfe_open_state(dfe_state_file *f, const char *path, dfe_net *net) {
    begin(f, path, net);
    while (!open_locked(f)) {
        if (f->disk.file >= 0) close(f->disk.file); /* its name was given to another */
        else if (make(f, net)) break;
        else close(f->disk.file);
    }
    load(f, net, 0);
}

void dfe_save_state(dfe_state_file *f, const dfe_net *net) {
    f->disk.error = 0;
    if (dfe_store_save(&f->store, &f->record, net->state, (uint32_t)net->program->state_bytes))
        cannot_write(f, f->disk.error);
}

void dfe_rebase_state(const char *path, dfe_net *net) {
    dfe_state_file f;
    begin(&f, path, net);
    while (!open_locked(&f)) {
        if (f.disk.file < 0) dfe_fail(DFE_DATA, path, "cannot be opened (%s)", dfe_why());
        close(f.disk.file);
    }
    load(&f, net, 1);
    uint32_t before = f.store.record.bundle_version;
    f.record = dfe_rebase(net->program, net->first, net->state, &f.store.record, &net->own);
    dfe_save_state(&f, net);
    dfe_print_name(stdout, path);
    printf(": carried over from version %u of the bundle to version %u; save %u\n", before,
           f.record.bundle_version, f.store.sequence);
}
