#include "place.h"

#include "check.h"

/* As dfedge/continual/placing.py names and explains them. */
enum {
    ROUNDS = 64,
    HALVINGS = 6,
    RATES = 4,
    COLDER = 8,
    UNIT = 10,
    FRACTION = 8,
    PARTS = 16,
    FURTHEST = 32,
    LARGEST = 127,
};
static const uint16_t sixteenths[] = {
    32768, 31379, 30048, 28774, 27554, 26386, 25268, 24196,
    23170, 22188, 21247, 20347, 19484, 18658, 17867, 17109,
};

static int64_t clamped(int64_t v, int64_t most) { return v < 0 ? 0 : v > most ? most : v; }

/* Rounded down. */
static int64_t divided(int64_t v, int64_t by) { return v / by - (v % by < 0); }

static int32_t whole(int32_t fine) { return (fine + (1 << (FRACTION - 1))) >> FRACTION; }

/* Whether a row is of the bundle's own classes. */
static int own(const dfe_placing *p, int32_t y) { return y < p->given->own; }

static int moves(const dfe_placing *p, int32_t k) {
    return p->every ? dfe_lives(p->given, k) : k == p->given->row;
}

/* Less what all classes share. */
static int64_t score(const dfe_placing *p, int32_t i, int32_t k) {
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
static int32_t best(dfe_placing *p, int32_t i, int32_t rows) {
    int32_t found = -1;
    for (int32_t k = 0; k < rows; k++) {
        if (!dfe_lives(p->given, k)) continue;
        p->scores[k] = score(p, i, k);
        if (found < 0 || p->scores[k] > p->scores[found]) found = k;
    }
    return found;
}

/* Of samples of the bundle's own classes, from one to before another. */
static void set_leads(dfe_placing *p, int32_t from, int32_t to) {
    for (int32_t i = from; i < to; i++) {
        dfe_placed *s = p->samples + i;
        if (!own(p, s->y)) continue;
        int64_t others = INT64_MIN;
        (void)best(p, i, p->given->own);
        for (int32_t k = 0; k < p->given->own; k++)
            if (k != s->y && dfe_lives(p->given, k) && p->scores[k] > others) others = p->scores[k];
        if (others != INT64_MIN) s->lead = p->scores[s->y] - others;
    }
}

/* The lead in the middle; between two the mean, towards zero; at least one COLDER-th. */
static int64_t temperature(const dfe_placing *p) {
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

static int too_many_lost(dfe_placing *p) {
    int64_t right = 0, gone = 0, won = 0;
    for (int32_t i = p->count; i < p->all; i++) {
        int before = p->samples[i].lead > 0;
        int now = best(p, i, p->given->program->classes) == p->samples[i].y;
        right += before;
        gone += before && !now;
        won += now && !before;
    }
    int64_t left = p->given->lost * right - 100 * (gone - won);
    return left < 0 || left * left < 100 * 100 * (gone + won);
}

/* The added classes' samples weigh 2^-halvings. */
static void weigh(dfe_placing *p, int32_t halvings) {
    for (int32_t i = 0; i < p->count; i++) {
        dfe_placed *s = p->samples + i;
        int32_t same = 0;
        for (int32_t j = 0; j < p->count; j++) same += p->samples[j].y == s->y;
        s->share = ((1 << DFE_SHARE) / same) >> (own(p, s->y) ? 0 : halvings);
    }
}

/* Of rows that stay, once. */
static void score_others(dfe_placing *p) {
    int32_t classes = p->given->program->classes;
    for (int32_t i = 0; i < p->count; i++)
        for (int32_t k = 0; k < classes; k++)
            if (dfe_lives(p->given, k) && !moves(p, k))
                p->g[(ptrdiff_t)i * classes + k] = score(p, i, k);
}

/* What each row that moves is to a sample: 1 if it is its own, less its probability. */
static void compare(dfe_placing *p, int32_t i, int64_t t) {
    const dfe_new_class *given = p->given;
    int32_t classes = given->program->classes;
    int64_t *g = p->g + (ptrdiff_t)i * classes;
    int64_t most = INT64_MIN, sum = 0;
    for (int32_t k = 0; k < classes; k++) {
        if (!dfe_lives(given, k)) continue;
        p->scores[k] = moves(p, k) ? score(p, i, k) : g[k];
        if (p->scores[k] > most) most = p->scores[k];
    }
    for (int32_t k = 0; k < classes; k++) {
        if (!dfe_lives(given, k)) continue;
        int64_t z = (most - p->scores[k]) * 16 / t;
        p->scores[k] = z >> 4 > 15 ? 0 : sixteenths[z & 15] >> (z >> 4);
        sum += p->scores[k];
    }
    const dfe_placed *s = p->samples + i;
    for (int32_t k = 0; k < classes; k++)
        if (moves(p, k))
            g[k] = ((k == s->y) * (1 << UNIT) - (p->scores[k] << UNIT) / sum) * s->share;
}

static void move(dfe_placing *p, int32_t k, int32_t bits) {
    int16_t *fine = p->fine + (ptrdiff_t)k * p->width;
    for (int32_t j = 0; j < p->width; j++) {
        int64_t sum = 0;
        int32_t a = whole(fine[j]);
        for (int32_t i = 0; i < p->count; i++)
            sum += p->g[(ptrdiff_t)i * p->given->program->classes + k] *
                   (p->seen[(ptrdiff_t)i * p->width + j] - a);
        fine[j] = (int16_t)clamped(fine[j] + divided(sum, (int64_t)1 << bits), LARGEST << FRACTION);
    }
}

/* Anchors as they stand in a state. */
static void start(dfe_placing *p, const void *state) {
    const dfe_program *program = p->given->program;
    for (int32_t l = 0, first = 0; l < program->layers; l++) {
        const dfe_layer *layer = dfe_layers(program) + l;
        int32_t d = dfe_feature_count(program, layer);
        const int8_t *a = (const int8_t *)state + layer->anchors;
        for (int32_t k = 0; k < program->classes; k++)
            for (int32_t j = 0; j < d; j++)
                p->fine[(ptrdiff_t)k * p->width + first + j] =
                    (int16_t)(*a++ * (1 << FRACTION));
        first += d;
    }
}

/* All rounds. */
static void move_on(dfe_placing *p, int64_t t, int32_t halvings) {
    start(p, p->given->state);
    weigh(p, halvings);
    score_others(p);
    for (int32_t round = 0; round < ROUNDS; round++) {
        for (int32_t i = 0; i < p->count; i++) compare(p, i, t);
        for (int32_t k = 0; k < p->given->program->classes; k++)
            if (moves(p, k))
                move(p, k, 1 + round * RATES / ROUNDS + UNIT + DFE_SHARE - FRACTION);
    }
}

/* The new row moves on, away from the others' samples, until it takes no more than it may. */
static void move_away(dfe_placing *p) {
    int32_t others = p->count - p->given->count;
    int16_t *fine = p->fine + (ptrdiff_t)p->given->row * p->width;
    for (int32_t part = 0; part <= FURTHEST; part++) {
        start(p, p->given->state);
        for (int32_t j = 0; j < p->width; j++) {
            int64_t a = whole(fine[j]), away = a - divided(dfe_sum_of(p, j, 0), others);
            fine[j] = (int16_t)(clamped(a + divided(away * part, PARTS), LARGEST) * (1 << FRACTION));
        }
        if (!too_many_lost(p)) return;
    }
    for (int32_t j = 0; j < p->width; j++)
        fine[j] = 2 * divided(dfe_sum_of(p, j, 0), others) < LARGEST ? LARGEST << FRACTION : 0;
}

static void end(const dfe_placing *p) {
    const dfe_program *program = p->given->program;
    for (int32_t l = 0, first = 0; l < program->layers; l++) {
        const dfe_layer *layer = dfe_layers(program) + l;
        int32_t d = dfe_feature_count(program, layer);
        int8_t *a = dfe_anchors_of(p->given, layer);
        for (int32_t k = 0; k < program->classes; k++, a += d)
            for (int32_t j = 0; j < d && p->says[first] && dfe_lives(p->given, k); j++)
                a[j] = (int8_t)whole(p->fine[(ptrdiff_t)k * p->width + first + j]);
        first += d;
    }
}

void dfe_place(dfe_placing *p) {
    const dfe_new_class *given = p->given;
    start(p, given->first ? given->first : given->state);
    set_leads(p, p->count, p->all);
    start(p, given->state);
    set_leads(p, 0, p->count);
    int64_t t = temperature(p);
    int lost = 1;
    p->every = given->first != NULL;
    for (int32_t halvings = 0; lost && halvings < HALVINGS; halvings++) {
        move_on(p, t, halvings);
        lost = too_many_lost(p);
    }
    if (lost && p->every) {
        p->every = 0;
        move_on(p, t, HALVINGS - 1);
        lost = too_many_lost(p);
    }
    end(p);
    if (!lost) return;
    move_away(p);
    end(p);
}

