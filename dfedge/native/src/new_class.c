#include "new_class.h"

#include "check.h"
#include "geometry.h"
#include "memory.h"

/* As dfedge/continual/placing.py names and explains them. */
enum {
    ROUNDS = 64,
    HALVINGS = 6,
    REACH = 2,
    UNIT = 64,
    FRACTION = 8,
    SHARE = 16,
    PARTS = 16,
    FURTHEST = 32,
    LARGEST = 127,
};

typedef struct {
    int64_t lead;    /* of a known sample, over the best of the others */
    int32_t best, c; /* best score of another class than the new one; its weight, below 0: pushes */
} sample;

/* Samples in a row: the new ones, then the known. */
typedef struct {
    const dfe_new_class *given;
    sample *samples;
    int32_t own, count; /* new ones, all */
    int32_t *fine;      /* [seen], anchors with FRACTION bits below the integer */
    int32_t *scores;    /* [classes] */
    int32_t *centre;    /* [seen], of the known, as fine; below 0: the layer has no say */
    int8_t *seen;       /* [count, seen] */
    int32_t width;      /* seen */
} placing;

static int32_t kept(int64_t fine) {
    return (int32_t)(fine < 0 ? 0 : fine > LARGEST << FRACTION ? LARGEST << FRACTION : fine);
}

/* Rounded down. */
static int64_t divided(int64_t v, int64_t by) { return v / by - (v % by < 0); }

static int32_t whole(int32_t fine) { return (fine + (1 << (FRACTION - 1))) >> FRACTION; }

static int8_t *anchors_of(const dfe_new_class *given, const dfe_layer *layer) {
    return (int8_t *)given->state + layer->anchors;
}

/* A layer whose anchors are all zero has no say. */
static int has_anchors(const dfe_new_class *given, const dfe_layer *layer) {
    const int8_t *a = anchors_of(given, layer);
    ptrdiff_t n = (ptrdiff_t)given->program->classes * dfe_feature_count(given->program, layer);
    for (ptrdiff_t i = 0; i < n; i++)
        if (a[i]) return 1;
    return 0;
}

int32_t dfe_seen(const dfe_program *program) {
    int32_t seen = 0;
    for (int32_t i = 0; i < program->layers; i++)
        seen += dfe_feature_count(program, dfe_layers(program) + i);
    return seen;
}

static int look(placing *p, const int8_t *x, int32_t y) {
    const dfe_new_class *g = p->given;
    int8_t *seen = p->seen + (ptrdiff_t)p->count * p->width;
    sample *s = p->samples + p->count++;
    int status = dfe_features(g->program, g->state, 1, x, seen, NULL, g->arena, g->arena_bytes);
    if (status == DFE_OK)
        status = dfe_infer(g->program, g->state, 1, x, p->scores, g->arena, g->arena_bytes);
    if (status != DFE_OK) return status;
    int64_t best = INT64_MIN, others = INT64_MIN;
    for (int32_t k = 0; k < g->program->classes; k++) {
        if (k == g->row) continue;
        if (p->scores[k] > best) best = p->scores[k];
        if (k != y && p->scores[k] > others) others = p->scores[k];
    }
    s->best = (int32_t)best;
    s->lead = y < 0 ? 0 : (int64_t)((uint64_t)p->scores[y] - (uint64_t)others);
    return DFE_OK;
}

static int look_at_all(placing *p) {
    const dfe_new_class *g = p->given;
    const int8_t *live = (const int8_t *)g->state + g->program->live;
    ptrdiff_t values = (ptrdiff_t)dfe_input_values(g->program, DFE_TRAIN, 1);
    int status = DFE_OK;
    for (int32_t i = 0; i < g->count && status == DFE_OK; i++) status = look(p, g->x + i * values, -1);
    p->own = p->count;
    for (int32_t i = 0; i < g->known.count && status == DFE_OK; i++)
        if (live[g->known.y[i]]) status = look(p, g->known.x + i * values, g->known.y[i]);
    return status;
}

/* The lead in the middle of all known ones; between two the mean, towards zero. */
static int64_t median(const placing *p) {
    int32_t n = p->count - p->own, below = (n - 1) / 2;
    int64_t sum = 0;
    for (int32_t at = below; at <= n / 2; at++)
        for (int32_t i = p->own; i < p->count; i++) {
            int32_t less = 0, equal = 0;
            for (int32_t j = p->own; j < p->count; j++) {
                less += p->samples[j].lead < p->samples[i].lead;
                equal += p->samples[j].lead == p->samples[i].lead;
            }
            if (less > at || at >= less + equal) continue;
            sum += p->samples[i].lead;
            break;
        }
    return n % 2 ? sum : sum / 2;
}

/* Where a row's anchors stand, of how many parts away from the centre of the known. */
static int32_t anchor(const placing *p, int32_t j, int32_t part) {
    int64_t away = ((int64_t)p->fine[j] - p->centre[j]) * part;
    return whole(kept(p->fine[j] + divided(away, PARTS)));
}

static int64_t score(const placing *p, int32_t i, int32_t part) {
    const dfe_program *program = p->given->program;
    const int8_t *seen = p->seen + (ptrdiff_t)i * p->width;
    int64_t total = 0;
    for (int32_t l = 0, j = 0; l < program->layers; l++) {
        const dfe_layer *layer = dfe_layers(program) + l;
        int32_t end = j + dfe_feature_count(program, layer);
        int64_t sum = 0;
        for (; j < end && p->centre[j] >= 0; j++) {
            int32_t a = anchor(p, j, part);
            sum += a * (2 * seen[j] - a);
        }
        j = end;
        total += sum * ((int64_t)1 << layer->score_shift);
    }
    return total;
}

static int too_many_fall(const placing *p, int32_t part) {
    int64_t fallen = 0, right = 0;
    for (int32_t i = p->own; i < p->count; i++) {
        if (p->samples[i].lead <= 0) continue;
        right++;
        fallen += score(p, i, part) > p->samples[i].best;
    }
    return fallen * 100 > p->given->lost * right;
}

static void weigh(placing *p, int64_t reach) {
    for (int32_t i = 0; i < p->count; i++) {
        sample *s = p->samples + i;
        int own = i < p->own;
        int64_t v = score(p, i, 0) - s->best, short_of = reach - (own ? v : -v);
        int64_t c = short_of <= 0 ? 0 : short_of * UNIT / (2 * reach);
        int32_t share = (1 << SHARE) / (own ? p->own : p->count - p->own);
        s->c = (int32_t)(c < UNIT ? c : UNIT) * (own ? share : -share);
    }
}

static void move(placing *p) {
    for (int32_t j = 0; j < p->width; j++) {
        int64_t sum = 0;
        int32_t a = whole(p->fine[j]);
        for (int32_t i = 0; i < p->count; i++)
            sum += (int64_t)p->samples[i].c * (p->seen[(ptrdiff_t)i * p->width + j] - a);
        p->fine[j] = kept(p->fine[j] + divided(sum, UNIT << (SHARE - FRACTION)));
    }
}

/* Of what is seen of some samples in one place. */
static int64_t sum_of(const placing *p, int32_t j, int32_t begin, int32_t end) {
    int64_t sum = 0;
    for (int32_t i = begin; i < end; i++) sum += p->seen[(ptrdiff_t)i * p->width + j];
    return sum;
}

/* The means: anchors of every layer that learns, or that has any.  Who has a say is known then. */
static void begin(placing *p) {
    const dfe_program *program = p->given->program;
    int32_t known = p->count - p->own;
    for (int32_t l = 0, j = 0; l < program->layers; l++) {
        const dfe_layer *layer = dfe_layers(program) + l;
        int32_t first = j, end = j + dfe_feature_count(program, layer);
        int8_t *a = anchors_of(p->given, layer) + (ptrdiff_t)p->given->row * (end - j);
        int written = l >= program->cut || has_anchors(p->given, layer);
        for (; j < end; j++) {
            int64_t twice = 2 * sum_of(p, j, 0, p->own);
            p->fine[j] = (int32_t)((twice + p->own) / (2 * p->own)) * (1 << FRACTION);
            if (written) a[j - first] = (int8_t)whole(p->fine[j]);
        }
        int says = known && layer->counted && has_anchors(p->given, layer);
        for (j = first; j < end; j++)
            p->centre[j] =
                says ? (int32_t)(sum_of(p, j, p->own, p->count) * (1 << FRACTION) / known) : -1;
    }
    ((int8_t *)p->given->state)[program->live + p->given->row] = 1;
}

static void end(const placing *p, int32_t part) {
    const dfe_program *program = p->given->program;
    for (int32_t l = 0, j = 0; l < program->layers; l++) {
        const dfe_layer *layer = dfe_layers(program) + l;
        int32_t d = dfe_feature_count(program, layer);
        int8_t *a = anchors_of(p->given, layer) + (ptrdiff_t)p->given->row * d;
        for (int32_t i = 0; i < d; i++, j++)
            if (p->centre[j] >= 0) a[i] = (int8_t)anchor(p, j, part);
    }
}

static void place(placing *p) {
    int64_t reach = REACH * median(p);
    if (reach < 1) reach = 1;
    for (int32_t halving = 0; halving < HALVINGS; halving++) {
        for (int32_t round = 0; round < ROUNDS; round++) {
            weigh(p, reach);
            move(p);
        }
        if (!too_many_fall(p, 0)) break;
        if (reach > 1) reach /= 2;
    }
    int32_t part = 0;
    while (part < FURTHEST && too_many_fall(p, part)) part++;
    end(p, part);
}

static int check(const dfe_new_class *g) {
    int status = dfe_check(g->program);
    if (status != DFE_OK) return status;
    const int8_t *live = (const int8_t *)g->state + g->program->live;
    if (g->program->form != DFE_ONE_PASS) return DFE_BAD_CALL;
    if (g->row < 0 || g->row >= g->program->classes || live[g->row]) return DFE_BAD_LABEL;
    if (g->count < 1 || g->known.count < 0 || g->count > (1 << SHARE)) return DFE_BAD_BATCH;
    for (int32_t i = 0; i < g->known.count; i++)
        if (g->known.y[i] < 0 || g->known.y[i] >= g->program->classes) return DFE_BAD_LABEL;
    if ((uintptr_t)g->room % 8) return DFE_MISALIGNED;
    size_t needs = DFE_NEW_CLASS_BYTES(g->count + g->known.count, (size_t)dfe_seen(g->program),
                                       g->program->classes);
    return g->room_bytes < needs ? DFE_SMALL_TENSOR : DFE_OK;
}

int dfe_add_class(const dfe_new_class *given) {
    int status = check(given);
    if (status != DFE_OK) return status;
    int32_t most = given->count + given->known.count, width = dfe_seen(given->program);
    placing p = {.given = given, .samples = given->room, .width = width};
    p.fine = (int32_t *)(p.samples + most);
    p.centre = p.fine + width;
    p.scores = p.centre + width;
    p.seen = (int8_t *)(p.scores + given->program->classes);
    status = look_at_all(&p);
    if (status != DFE_OK) return status;
    begin(&p);
    if (p.count > p.own) place(&p);
    return DFE_OK;
}
