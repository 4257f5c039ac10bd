#include "pass.h"

#include <signal.h>
#include <string.h>

#include "fail.h"
#include "idx.h"
#include "state.h"
#include "stop.h"

/* Everything of one pass. */
typedef struct {
    const dfe_options *options;
    dfe_net *net;
    dfe_images images, labels;
    dfe_state_file state;
    int32_t values; /* of one sample */
    int32_t done, steps, right;
    uint8_t *pixels, *names;
    int8_t *x;
    int32_t *y, *scores, *active;
    void *arena;
    size_t arena_bytes;
} pass;

int64_t dfe_arena_of(const dfe_net *net, int call, int32_t batch) {
    int64_t bytes = dfe_arena_bytes(net->program, call, batch);
    if (bytes < 0)
        dfe_fail(DFE_DATA, "--batch", "is %d, and the program cannot sum so many samples; choose "
                 "fewer", batch);
    return bytes;
}

static int learns(const pass *p) { return p->options->command == DFE_LEARN; }

static void open_files(pass *p) {
    const dfe_options *o = p->options;
    const dfe_program *program = p->net->program;
    p->values = program->height * program->width * program->channels;
    p->images = dfe_open_images(o->images, p->values);
    if (o->labels) {
        p->labels = dfe_open_images(o->labels, 1);
        if (p->labels.count != p->images.count)
            dfe_fail(DFE_DATA, o->labels, "does not hold one label for each image: %d, allowed: %d",
                     p->labels.count, p->images.count);
    }
    if (o->skip > p->images.count)
        dfe_fail(DFE_USAGE, "--skip", "is %d; allowed: 0 to %d", o->skip, p->images.count);
    dfe_skip_images(&p->images, o->skip);
    if (o->labels) dfe_skip_images(&p->labels, o->skip);
}

static void *reserve(size_t bytes) {
    return dfe_reserve(bytes, "the program (a smaller --batch takes less)");
}

static void reserve_memory(pass *p) {
    const dfe_program *program = p->net->program;
    size_t batch = (size_t)p->options->batch;
    int64_t arena = dfe_arena_of(p->net, learns(p) ? DFE_TRAIN : DFE_INFER, p->options->batch);
    p->pixels = reserve(batch * (size_t)p->values);
    p->x = (int8_t *)p->pixels; /* halved where they lie */
    p->names = reserve(batch);
    p->y = reserve(batch * sizeof *p->y);
    p->scores = reserve(batch * (size_t)program->classes * sizeof *p->scores);
    p->active = reserve((size_t)program->layers * sizeof *p->active);
    p->arena_bytes = (size_t)arena;
    p->arena = reserve(p->arena_bytes);
}

static void next(pass *p, int32_t n) {
    dfe_read_images(&p->images, n, p->pixels);
    for (int32_t i = 0; i < n * p->values; i++) p->pixels[i] >>= 1; /* 0..255 -> 0..127 */
    if (!p->labels.file) return;
    dfe_read_images(&p->labels, n, p->names);
    for (int32_t i = 0; i < n; i++) p->y[i] = p->names[i];
}

static void call(pass *p, int32_t n) {
    const dfe_program *program = p->net->program;
    void *state = p->net->state;
    int status = learns(p) ? dfe_step(program, state, n, p->x, p->y, p->scores, p->active,
                                      p->arena, p->arena_bytes)
                           : dfe_infer(program, state, n, p->x, p->scores, p->arena,
                                       p->arena_bytes);
    if (status == DFE_BAD_LABEL)
        dfe_fail(DFE_DATA, p->labels.path, "a label of samples %d to %d is not a class of the "
                 "program; allowed: 0 to %d", p->done, p->done + n - 1, program->classes - 1);
    if (status != DFE_OK) dfe_fail(DFE_DATA, "the program", "refused a batch (%d)", status);
}

static int32_t best(const int32_t *scores, int32_t classes) {
    int32_t found = 0;
    for (int32_t k = 1; k < classes; k++)
        if (scores[k] > scores[found]) found = k;
    return found;
}

static void answer(pass *p, int32_t n) {
    int32_t classes = p->net->program->classes;
    for (int32_t i = 0; i < n; i++) {
        int32_t found = best(p->scores + i * classes, classes);
        if (p->labels.file) p->right += found == p->y[i];
        else printf("%d\n", found);
    }
}

static void save(pass *p) {
    dfe_save_state(&p->state, p->net);
    if (!p->options->tells_saves) return;
    printf("saved after %d samples\n", p->done);
    fflush(stdout);
}

/* Whether it is on the medium already. */
static int saved(const pass *p) { return p->state.record.steps == p->state.store.record.steps; }

static void count(pass *p, int32_t n) {
    p->state.record.steps++;
    p->state.record.samples += (uint32_t)n;
    if (++p->steps % p->options->save_every == 0) save(p);
}

static void run(pass *p) {
    p->done = p->options->skip;
    while (p->done < p->images.count && !dfe_signal()) {
        int32_t left = p->images.count - p->done;
        int32_t n = left < p->options->batch ? left : p->options->batch;
        next(p, n);
        call(p, n);
        answer(p, n);
        p->done += n;
        if (learns(p)) count(p, n);
    }
    if (learns(p) && !saved(p)) save(p);
}

static int end(const pass *p) {
    int32_t seen = p->done - p->options->skip;
    if (p->labels.file)
        printf("%s %d of %d\n", learns(p) ? "recognised before being learned:" : "right:", p->right,
               seen);
    if (fflush(stdout) || ferror(stdout))
        dfe_fail(DFE_MACHINE, "the standard output", "cannot be written");
    if (p->done == p->images.count) return 0;
    dfe_note(p->images.path, "%s after %d of %d samples%s; to go on: --skip %d",
             dfe_signal() == SIGINT ? "interrupted" : "ended by SIGTERM", p->done, p->images.count,
             learns(p) ? "; what was learned is saved" : "", p->done);
    return 128 + dfe_signal();
}

int dfe_pass(dfe_net *net, const dfe_options *options) {
    pass p;
    memset(&p, 0, sizeof p);
    p.options = options;
    p.net = net;
    open_files(&p);
    reserve_memory(&p);
    dfe_watch_signals();
    if (learns(&p)) dfe_open_state(&p.state, options->state, net);
    else if (options->state) dfe_read_state(options->state, net);
    run(&p);
    return end(&p);
}
