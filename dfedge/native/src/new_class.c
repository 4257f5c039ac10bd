#include "new_class.h"

#include "check.h"
#include "geometry.h"
#include "memory.h"

/* As dfedge/continual/placing.py names and explains them. */
enum {
    ROUNDS = 64,
    HALVINGS = 6,
    RATES = 4,
    COLDER = 8,
    UNIT = 10,
    FRACTION = 8,
    SHARE = 16,
    PARTS = 16,
    FURTHEST = 32,
    LARGEST = 127,
};
static const uint16_t sixteenths[] = {
    32768, 31379, 30048, 28774, 27554, 26386, 25268, 24196,
    23170, 22188, 21247, 20347, 19484, 18658, 17867, 17109,
};

typedef struct {
    int64_t lead;     /* among the bundle's own classes; 0: it is a sample of another one */
    int32_t y, share; /* its row, its weight */
} sample;

/* Samples in a row: the new ones, then the known. */
typedef struct {
    const dfe_new_class *given;
    sample *samples;
    int32_t count;
    int64_t *scores; /* [classes] */
    int32_t *g;      /* [count, classes], in UNIT + SHARE bits */
    int16_t *fine;   /* [classes, seen], anchors with FRACTION bits below the integer */
    int8_t *seen;    /* [count, seen] */
    int8_t *says;    /* [seen], whether the layer has a say */
    int32_t width;   /* seen */
} placing;

static int64_t clamped(int64_t v, int64_t most) { return v < 0 ? 0 : v > most ? most : v; }

/* Rounded down. */
static int64_t divided(int64_t v, int64_t by) { return v / by - (v % by < 0); }

static int32_t whole(int32_t fine) { return (fine + (1 << (FRACTION - 1))) >> FRACTION; }

static int8_t *anchors_of(const dfe_new_class *given, const dfe_layer *layer) {
    return (int8_t *)given->state + layer->anchors;
}

static int lives(const dfe_new_class *given, int32_t k) {
    return ((const int8_t *)given->state)[given->program->live + k] != 0;
}

/* Whether a row is of the bundle's own classes. */
static int own(const placing *p, int32_t y) { return y < p->given->first; }

static int moves(const dfe_new_class *given, int32_t k) {
    return given->all ? lives(given, k) : k == given->row;
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
    p->samples[p->count] = (sample){.y = y};
    int8_t *seen = p->seen + (ptrdiff_t)p->count++ * p->width;
    return dfe_features(g->program, g->state, 1, x, seen, NULL, g->arena, g->arena_bytes);
}

static int look_at_all(placing *p) {
    const dfe_new_class *g = p->given;
    ptrdiff_t values = (ptrdiff_t)dfe_input_values(g->program, DFE_TRAIN, 1);
    int status = DFE_OK;
    for (int32_t i = 0; i < g->count && status == DFE_OK; i++)
        status = look(p, g->x + i * values, g->row);
    for (int32_t i = 0; i < g->known.count && status == DFE_OK; i++)
        if (lives(g, g->known.y[i])) status = look(p, g->known.x + i * values, g->known.y[i]);
    return status;
}

/* Less what all classes share. */
static int64_t score(const placing *p, int32_t i, int32_t k) {
    const dfe_program *program = p->given->program;
    const int8_t *seen = p->seen + (ptrdiff_t)i * p->width;
    const int16_t *fine = p->fine + (ptrdiff_t)k * p->width;
    int64_t total = 0;
    for (int32_t l = 0, j = 0; l < program->layers; l++) {
        const dfe_layer *layer = dfe_layers(program) + l;
        int32_t end = j + dfe_feature_count(program, layer), sum = 0;
        for (; j < end; j++) {
            int32_t a = whole(fine[j]);
            sum += p->says[j] ? a * (2 * seen[j] - a) : 0;
        }
        total += sum * ((int64_t)1 << layer->score_shift);
    }
    return total;
}

/* The best of the live rows before `rows`. */
static int32_t best(placing *p, int32_t i, int32_t rows) {
    int32_t found = -1;
    for (int32_t k = 0; k < rows; k++) {
        if (!lives(p->given, k)) continue;
        p->scores[k] = score(p, i, k);
        if (found < 0 || p->scores[k] > p->scores[found]) found = k;
    }
    return found;
}

/* Of every sample of the bundle's own classes. */
static void set_leads(placing *p) {
    for (int32_t i = 0; i < p->count; i++) {
        sample *s = p->samples + i;
        if (!own(p, s->y)) continue;
        int64_t others = INT64_MIN;
        (void)best(p, i, p->given->first);
        for (int32_t k = 0; k < p->given->first; k++)
            if (k != s->y && lives(p->given, k) && p->scores[k] > others) others = p->scores[k];
        if (others != INT64_MIN) s->lead = p->scores[s->y] - others;
    }
}

/* The lead in the middle; between two the mean, towards zero; at least one COLDER-th. */
static int64_t temperature(const placing *p) {
    int32_t n = 0;
    for (int32_t i = 0; i < p->count; i++) n += own(p, p->samples[i].y);
    if (!n) return 1;
    int64_t sum = 0;
    for (int32_t at = (n - 1) / 2; at <= n / 2; at++)
        for (int32_t i = 0; i < p->count; i++) {
            if (!own(p, p->samples[i].y)) continue;
            int32_t less = 0, equal = 0;
            for (int32_t j = 0; j < p->count; j++) {
                if (!own(p, p->samples[j].y)) continue;
                less += p->samples[j].lead < p->samples[i].lead;
                equal += p->samples[j].lead == p->samples[i].lead;
            }
            if (less > at || at >= less + equal) continue;
            sum += p->samples[i].lead;
            break;
        }
    int64_t found = (n % 2 ? sum : sum / 2) / COLDER;
    return found > 1 ? found : 1;
}

static int too_many_lost(placing *p) {
    int64_t lost = 0, right = 0;
    for (int32_t i = 0; i < p->count; i++) {
        if (p->samples[i].lead <= 0) continue;
        right++;
        lost += best(p, i, p->given->program->classes) != p->samples[i].y;
    }
    return lost * 100 > p->given->lost * right;
}

/* The added classes' samples weigh 2^-halvings. */
static void weigh(placing *p, int32_t halvings) {
    for (int32_t i = 0; i < p->count; i++) {
        sample *s = p->samples + i;
        int32_t same = 0;
        for (int32_t j = 0; j < p->count; j++) same += p->samples[j].y == s->y;
        s->share = ((1 << SHARE) / same) >> (own(p, s->y) ? 0 : halvings);
    }
}

/* What each row is to a sample: 1 if it is its own, less its probability. */
static void compare(placing *p, int32_t i, int64_t t) {
    int32_t classes = p->given->program->classes;
    int32_t *g = p->g + (ptrdiff_t)i * classes;
    int64_t most = p->scores[best(p, i, classes)], sum = 0;
    for (int32_t k = 0; k < classes; k++) {
        if (!lives(p->given, k)) continue;
        int64_t z = (most - p->scores[k]) * 16 / t;
        p->scores[k] = z >> 4 > 15 ? 0 : sixteenths[z & 15] >> (z >> 4);
        sum += p->scores[k];
    }
    const sample *s = p->samples + i;
    for (int32_t k = 0; k < classes; k++)
        if (lives(p->given, k))
            g[k] = (int32_t)((k == s->y) * (1 << UNIT) - (p->scores[k] << UNIT) / sum) * s->share;
}

static void move(placing *p, int32_t k, int32_t bits) {
    int16_t *fine = p->fine + (ptrdiff_t)k * p->width;
    for (int32_t j = 0; j < p->width; j++) {
        int64_t sum = 0;
        int32_t a = whole(fine[j]);
        for (int32_t i = 0; i < p->count; i++)
            sum += (int64_t)p->g[(ptrdiff_t)i * p->given->program->classes + k] *
                   (p->seen[(ptrdiff_t)i * p->width + j] - a);
        fine[j] = (int16_t)clamped(fine[j] + divided(sum, (int64_t)1 << bits), LARGEST << FRACTION);
    }
}

/* Anchors as they stand. */
static void start(placing *p) {
    const dfe_program *program = p->given->program;
    for (int32_t l = 0, first = 0; l < program->layers; l++) {
        const dfe_layer *layer = dfe_layers(program) + l;
        int32_t d = dfe_feature_count(program, layer);
        const int8_t *a = anchors_of(p->given, layer);
        for (int32_t k = 0; k < program->classes; k++)
            for (int32_t j = 0; j < d; j++)
                p->fine[(ptrdiff_t)k * p->width + first + j] =
                    (int16_t)(*a++ * (1 << FRACTION));
        first += d;
    }
}

/* All rounds. */
static void move_on(placing *p, int64_t t, int32_t halvings) {
    start(p);
    weigh(p, halvings);
    for (int32_t round = 0; round < ROUNDS; round++) {
        for (int32_t i = 0; i < p->count; i++) compare(p, i, t);
        for (int32_t k = 0; k < p->given->program->classes; k++)
            if (moves(p->given, k))
                move(p, k, 1 + round * RATES / ROUNDS + UNIT + SHARE - FRACTION);
    }
}

/* Of what is seen of the samples of the new class in one place, or of those of all others. */
static int64_t sum_of(const placing *p, int32_t j, int is_new) {
    int64_t sum = 0;
    for (int32_t i = 0; i < p->count; i++)
        if ((p->samples[i].y == p->given->row) == is_new)
            sum += p->seen[(ptrdiff_t)i * p->width + j];
    return sum;
}

/* The new row alone moves, away from the others' samples, until it takes no more than it may. */
static void move_away(placing *p) {
    int32_t others = p->count - p->given->count;
    int16_t *fine = p->fine + (ptrdiff_t)p->given->row * p->width;
    for (int32_t part = 0; part <= FURTHEST; part++) {
        start(p);
        for (int32_t j = 0; j < p->width; j++) {
            int64_t a = whole(fine[j]), away = a - divided(sum_of(p, j, 0), others);
            fine[j] = (int16_t)(clamped(a + divided(away * part, PARTS), LARGEST) * (1 << FRACTION));
        }
        if (!too_many_lost(p)) return;
    }
}

/* The means: anchors of every layer that learns, or that has any.  Who has a say is known then. */
static void begin(placing *p) {
    const dfe_new_class *given = p->given;
    const dfe_program *program = given->program;
    for (int32_t l = 0, j = 0; l < program->layers; l++) {
        const dfe_layer *layer = dfe_layers(program) + l;
        int32_t first = j, end = j + dfe_feature_count(program, layer);
        int8_t *a = anchors_of(given, layer) + (ptrdiff_t)given->row * (end - j);
        if (l >= program->cut || has_anchors(given, layer))
            for (; j < end; j++)
                a[j - first] =
                    (int8_t)((2 * sum_of(p, j, 1) + given->count) / (2 * given->count));
        int says = layer->counted && has_anchors(given, layer);
        for (j = first; j < end; j++) p->says[j] = (int8_t)says;
    }
    ((int8_t *)given->state)[program->live + given->row] = 1;
}

static void end(const placing *p) {
    const dfe_program *program = p->given->program;
    for (int32_t l = 0, first = 0; l < program->layers; l++) {
        const dfe_layer *layer = dfe_layers(program) + l;
        int32_t d = dfe_feature_count(program, layer);
        int8_t *a = anchors_of(p->given, layer);
        for (int32_t k = 0; k < program->classes; k++, a += d)
            for (int32_t j = 0; j < d && p->says[first] && lives(p->given, k); j++)
                a[j] = (int8_t)whole(p->fine[(ptrdiff_t)k * p->width + first + j]);
        first += d;
    }
}

static void place(placing *p) {
    start(p);
    set_leads(p);
    int64_t t = temperature(p);
    int32_t halvings = 0;
    do move_on(p, t, halvings++);
    while (too_many_lost(p) && halvings < HALVINGS);
    if (too_many_lost(p)) move_away(p);
    end(p);
}

static int check(const dfe_new_class *g) {
    int status = dfe_check(g->program);
    if (status != DFE_OK) return status;
    int32_t classes = g->program->classes;
    if (g->program->form != DFE_ONE_PASS) return DFE_BAD_CALL;
    if (g->row < 0 || g->row >= classes || lives(g, g->row)) return DFE_BAD_LABEL;
    if (g->first < 0 || g->first > g->row) return DFE_BAD_LABEL;
    if (g->count < 1 || g->known.count < 0 || g->count > (1 << SHARE)) return DFE_BAD_BATCH;
    for (int32_t i = 0; i < g->known.count; i++)
        if (g->known.y[i] < 0 || g->known.y[i] >= classes) return DFE_BAD_LABEL;
    if ((uintptr_t)g->room % 8) return DFE_MISALIGNED;
    size_t needs =
        DFE_NEW_CLASS_BYTES(g->count + g->known.count, (size_t)dfe_seen(g->program), classes);
    return g->room_bytes < needs ? DFE_SMALL_TENSOR : DFE_OK;
}

int dfe_add_class(const dfe_new_class *given) {
    int status = check(given);
    if (status != DFE_OK) return status;
    ptrdiff_t most = given->count + given->known.count, classes = given->program->classes;
    placing p = {.given = given, .samples = given->room, .width = dfe_seen(given->program)};
    p.scores = (int64_t *)(p.samples + most);
    p.g = (int32_t *)(p.scores + classes);
    p.fine = (int16_t *)(p.g + most * classes);
    p.seen = (int8_t *)(p.fine + classes * p.width);
    p.says = p.seen + most * p.width;
    status = look_at_all(&p);
    if (status != DFE_OK) return status;
    begin(&p);
    if (p.count > given->count) place(&p);
    return DFE_OK;
}
