/* dfedge-run: an exported net learns and answers without Python.
 *
 *     dfedge-run memory NET
 *     dfedge-run infer NET IMAGES [LABELS] [--state FILE] [--batch N]
 *     dfedge-run train NET IMAGES LABELS --state FILE [--batch N]
 *
 * NET is c/net.dfe of a bundle; images and labels are IDX files. `train` goes on from the state
 * where there is one, and writes it. Exit codes: 0 done, 1 data that cannot be used, 2 usage.
 */
#include <stdlib.h>
#include <string.h>

#include "file.h"

enum { LARGEST_BATCH = 4096 };

typedef struct {
    const char *command, *net, *images, *labels, *state;
    int32_t batch;
} options;

static void usage(void) {
    fputs("usage: dfedge-run memory NET\n"
          "       dfedge-run infer NET IMAGES [LABELS] [--state FILE] [--batch N]\n"
          "       dfedge-run train NET IMAGES LABELS --state FILE [--batch N]\n",
          stderr);
    exit(2);
}

static options parsed(int count, char **words) {
    options o = {NULL, NULL, NULL, NULL, NULL, 16};
    const char **places[] = {&o.command, &o.net, &o.images, &o.labels};
    size_t place = 0;
    for (int i = 1; i < count; i++) {
        int last = i + 1 == count;
        if (!strcmp(words[i], "--state") && !last) {
            o.state = words[++i];
        } else if (!strcmp(words[i], "--batch") && !last) {
            o.batch = atoi(words[++i]);
        } else if (words[i][0] == '-' || place == sizeof places / sizeof *places) {
            usage();
        } else {
            *places[place++] = words[i];
        }
    }
    if (!o.net || o.batch < 1 || o.batch > LARGEST_BATCH) usage();
    return o;
}

/* Everything of one run. */
typedef struct {
    dfe_net net;
    dfe_images images, labels;
    int trains;
    int32_t values; /* of one sample */
    uint8_t *pixels, *names;
    int8_t *x;
    int32_t *y, *scores, *active;
    void *arena;
    size_t arena_bytes;
} run;

static void *reserved(size_t bytes) {
    void *block = calloc(bytes ? bytes : 1, 1);
    if (!block) dfe_fail("memory", "less than the program needs; a smaller --batch fits");
    return block;
}

static int64_t arena(const dfe_net *net, int call, int32_t batch) {
    int64_t bytes = dfe_arena_bytes(net->program, call, batch);
    if (bytes < 0) dfe_fail("--batch", "the program cannot sum so many samples");
    return bytes;
}

static void prepare(run *r, const options *o) {
    const dfe_program *p = r->net.program;
    size_t batch = (size_t)o->batch, classes = (size_t)p->classes;
    r->values = p->height * p->width * p->channels;
    r->images = dfe_open_images(o->images, r->values);
    if (o->labels) {
        r->labels = dfe_open_images(o->labels, 1);
        if (r->labels.count != r->images.count)
            dfe_fail(o->labels, "does not hold one label for each image");
    }
    r->pixels = reserved(batch * (size_t)r->values);
    r->x = (int8_t *)r->pixels; /* halved where they lie */
    r->names = reserved(batch);
    r->y = reserved(batch * sizeof *r->y);
    r->scores = reserved(batch * classes * sizeof *r->scores);
    r->active = reserved((size_t)p->layers * sizeof *r->active);
    r->arena_bytes = (size_t)arena(&r->net, r->trains ? DFE_TRAIN : DFE_INFER, o->batch);
    r->arena = reserved(r->arena_bytes);
}

static void next(run *r, int32_t n) {
    dfe_read_images(&r->images, n, r->pixels);
    for (int32_t i = 0; i < n * r->values; i++) r->pixels[i] >>= 1; /* 0..255 -> 0..127 */
    if (!r->labels.file) return;
    dfe_read_images(&r->labels, n, r->names);
    for (int32_t i = 0; i < n; i++) r->y[i] = r->names[i];
}

static void call(run *r, int32_t n) {
    const dfe_program *p = r->net.program;
    int status = r->trains ? dfe_step(p, r->net.state, n, r->x, r->y, r->scores, r->active,
                                      r->arena, r->arena_bytes)
                           : dfe_infer(p, r->net.state, n, r->x, r->scores, r->arena,
                                       r->arena_bytes);
    if (status == DFE_BAD_LABEL) dfe_fail(r->labels.path, "a label is no class of the program");
    if (status != DFE_OK) dfe_fail("the program", "refused a batch");
}

static int32_t best(const int32_t *scores, int32_t classes) {
    int32_t found = 0;
    for (int32_t k = 1; k < classes; k++)
        if (scores[k] > scores[found]) found = k;
    return found;
}

static void run_all(run *r, const options *o) {
    int32_t right = 0, classes = r->net.program->classes;
    for (int32_t done = 0; done < r->images.count;) {
        int32_t n = r->images.count - done < o->batch ? r->images.count - done : o->batch;
        next(r, n);
        call(r, n);
        for (int32_t i = 0; i < n; i++) {
            int32_t answer = best(r->scores + i * classes, classes);
            if (r->labels.file) right += answer == r->y[i];
            else printf("%d\n", answer);
        }
        done += n;
    }
    if (r->labels.file)
        printf("%s %d of %d\n", r->trains ? "recognised before being learned:" : "right:", right,
               r->images.count);
}

static void memory(const dfe_net *net) {
    printf("state %d B\n", net->program->state_bytes);
    for (int32_t batch = 1; batch <= 16; batch += 15)
        printf("batch %d: arena of train %lld B, of infer %lld B\n", batch,
               (long long)arena(net, DFE_TRAIN, batch), (long long)arena(net, DFE_INFER, batch));
}

int main(int count, char **words) {
    options o = parsed(count, words);
    run r;
    memset(&r, 0, sizeof r);
    if (!strcmp(o.command, "memory")) {
        r.net = dfe_read_net(o.net);
        memory(&r.net);
        return 0;
    }
    r.trains = !strcmp(o.command, "train");
    if ((!r.trains && strcmp(o.command, "infer")) || !o.images ||
        (r.trains && (!o.labels || !o.state)))
        usage();
    r.net = dfe_read_net(o.net);
    if (o.state && !dfe_read_state(o.state, &r.net) && !r.trains)
        dfe_fail(o.state, "cannot be opened");
    prepare(&r, &o);
    run_all(&r, &o);
    if (r.trains) dfe_write_state(o.state, &r.net);
    return 0;
}
