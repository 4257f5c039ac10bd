#include "memory.h"

#include "anchors.h"
#include "geometry.h"

static int64_t aligned(int64_t bytes) { return (bytes + DFE_ALIGN - 1) / DFE_ALIGN * DFE_ALIGN; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

const dfe_layer *dfe_layers(const dfe_program *program) { return (const dfe_layer *)(program + 1); }

static const dfe_conv *all_convs(const dfe_program *program) {
    return (const dfe_conv *)(dfe_layers(program) + program->layers);
}

const dfe_conv *dfe_convs(const dfe_program *program, const dfe_layer *layer) {
    return all_convs(program) + layer->first;
}

const dfe_operation *dfe_operations(const dfe_program *program) {
    return (const dfe_operation *)(all_convs(program) + program->convs);
}

const int32_t *dfe_reads(const dfe_program *program) {
    return (const int32_t *)(dfe_operations(program) + program->operations);
}

const int8_t *dfe_constants(const dfe_program *program) {
    return (const int8_t *)(dfe_reads(program) + program->reads);
}

int64_t dfe_table_bytes(const dfe_program *p) {
    if (p->layers < 0 || p->convs < 0 || p->operations < 0 || p->reads < 0 || p->constant_bytes < 0)
        return -1;
    return (int64_t)sizeof(dfe_program) + p->layers * (int64_t)sizeof(dfe_layer) +
           p->convs * (int64_t)sizeof(dfe_conv) + p->operations * (int64_t)sizeof(dfe_operation) +
           p->reads * (int64_t)sizeof(int32_t) + p->constant_bytes;
}

int32_t dfe_chain(const dfe_layer *layer) { return layer->joined ? layer->joined : layer->convs; }

const dfe_conv *dfe_ends(const dfe_program *program, const dfe_layer *layer) {
    return dfe_convs(program, layer) + dfe_chain(layer) - 1;
}

dfe_shape dfe_output(const dfe_program *program, const dfe_layer *layer) {
    const dfe_conv *end = dfe_ends(program, layer);
    dfe_shape shape = {dfe_out_height(end), dfe_out_width(end), end->channels};
    return shape;
}

int32_t dfe_feature_count(const dfe_program *program, const dfe_layer *layer) {
    dfe_shape s = dfe_output(program, layer);
    return dfe_grid_side(s.height, layer->cells) * dfe_grid_side(s.width, layer->cells) * s.channels;
}

dfe_shape dfe_handed(const dfe_program *program, const dfe_layer *layer) {
    dfe_shape s = dfe_output(program, layer);
    if (layer->mean) {
        s.channels = dfe_feature_count(program, layer);
        s.height = s.width = 1;
    } else if (layer->pool) {
        s.height /= dfe_pool_side(s.height);
        s.width /= dfe_pool_side(s.width);
    }
    return s;
}

dfe_shape dfe_latent(const dfe_program *program) {
    const dfe_conv *c = dfe_convs(program, dfe_layers(program) + program->cut);
    dfe_shape s = {c->height, c->width, c->in_channels};
    return s;
}

/* Bytes of a layer's buffers. */
typedef struct {
    int64_t inner[DFE_CHAIN - 1], h, handed;
    int64_t map; /* of the one error map that cannot lie over an inner output */
} sizes;

static sizes of_layer(const dfe_program *program, const dfe_layer *layer, int64_t samples) {
    const dfe_conv *c = dfe_convs(program, layer);
    dfe_shape s = dfe_output(program, layer), handed = dfe_handed(program, layer);
    sizes found = {{0}, samples * s.height * s.width * s.channels,
                   samples * handed.height * handed.width * handed.channels, 0};
    for (int32_t j = 0; j < dfe_chain(layer) - 1; j++) {
        found.inner[j] = samples * dfe_out_height(c + j) * dfe_out_width(c + j) * c[j].channels;
        found.map = found.inner[j];
    }
    if (dfe_chain(layer) == DFE_CHAIN) found.inner[1] = larger(found.inner[0], found.inner[1]);
    return found;
}

/* Whether what is handed on is less than the output. */
static int shrinks(const dfe_layer *layer) { return layer->pool || layer->mean; }

static int64_t inner_bytes(const sizes *s) { return s->inner[0] + s->inner[1]; }

dfe_memory dfe_plan_memory(const dfe_program *program, int call, int32_t batch) {
    int trains = call == DFE_TRAIN || call == DFE_TRAIN_FROM;
    int plane = program->form == DFE_LABEL_PLANE;
    dfe_memory m = {0};
    m.call = call;
    m.batch = batch;
    m.copies = plane && trains ? 1 + program->negatives : 1;
    m.waits = trains && program->feedback != DFE_NONE;
    int64_t samples = (int64_t)batch * m.copies, given = 0, error = 0, inner = 0;
    int64_t slot[DFE_SLOTS] = {0};
    if (plane || (program->operations && call != DFE_TRAIN_FROM)) {
        const dfe_conv *first = dfe_convs(program, dfe_layers(program));
        given = samples * first->height * first->width * first->in_channels;
    }
    if (m.waits) slot[DFE_SLOTS - 1] = given;
    m.workspace = given;
    for (int32_t i = call == DFE_TRAIN_FROM ? program->cut : 0; i < program->layers; i++) {
        const dfe_layer *layer = dfe_layers(program) + i;
        sizes s = of_layer(program, layer, samples);
        int moves = trains && i >= program->cut;
        if (m.waits) {
            int64_t frame = inner_bytes(&s) + s.h + (shrinks(layer) ? s.handed : 0);
            slot[i % DFE_SLOTS] = larger(slot[i % DFE_SLOTS], frame);
            if (moves && i + 1 < program->layers)
                error = larger(error, layer->mean ? s.handed : s.h);
            if (moves) inner = larger(inner, inner_bytes(&s));
        } else {
            m.activations = larger(m.activations,
                                   given + inner_bytes(&s) + s.h + (moves ? s.map : 0));
        }
        given = s.handed;
        if (!plane) m.feature_bytes = larger(m.feature_bytes, dfe_feature_count(program, layer));
    }
    for (int32_t i = 0; i < DFE_SLOTS; i++) {
        int32_t next = (i + DFE_SLOTS - 1) % DFE_SLOTS; /* the last at the low end */
        m.slot[next] = m.activations;
        m.activations += slot[next];
    }
    m.error_map = m.activations;
    m.inner_map = m.error_map + error;
    m.features = aligned(m.inner_map + inner);
    m.acts = m.features;
    if (!plane) {
        m.feature_bytes = aligned(m.feature_bytes * (trains ? batch : 1));
        m.acts += m.feature_bytes * (m.waits ? 2 : 1);
    }
    m.verdicts = m.acts + (trains ? aligned(samples) * (m.waits ? 2 : 1) : 0);
    /* one-pass: verdicts; label-plane: label, energy and total of each copy */
    m.scratch = m.verdicts + (trains || plane ? samples * (int64_t)sizeof(dfe_verdict) : 0);
    m.bytes = m.scratch + (trains && !plane ? batch * (int64_t)DFE_FEATURES_AT_ONCE : 0);
    if (program->operations && call != DFE_TRAIN_FROM)
        m.bytes = larger(m.bytes, m.workspace + program->workspace);
    return m;
}

dfe_frame dfe_frame_of(const dfe_program *program, const dfe_memory *m, uint8_t *arena,
                       int32_t number) {
    const dfe_layer *layer = dfe_layers(program) + number;
    sizes s = of_layer(program, layer, (int64_t)m->batch * m->copies);
    int8_t *base = (int8_t *)arena;
    int32_t longest = dfe_chain(layer) == DFE_CHAIN;
    dfe_frame f;
    if (m->waits) {
        f.inner[0] = base + m->slot[number % DFE_SLOTS];
        f.inner[1] = f.inner[0] + s.inner[0];
        f.h = f.inner[1] + s.inner[1];
        f.handed = shrinks(layer) ? f.h + s.h : f.h;
        f.map[0] = base + m->inner_map;
        f.map[1] = f.map[0] + s.inner[0];
        return f;
    }
    int8_t *top = base + m->activations, *map;
    if (number % 2 == 0) { /* the input lies at the low end */
        f.h = top - s.h;
        f.handed = top - s.handed;
        f.inner[0] = f.h - s.inner[0];
        f.inner[1] = f.inner[0] - s.inner[1];
        map = f.inner[1] - s.map;
    } else {
        f.h = base;
        f.handed = base;
        f.inner[0] = base + s.h;
        f.inner[1] = f.inner[0] + s.inner[0];
        map = f.inner[1] + s.inner[1];
    }
    f.map[0] = longest ? f.inner[1] : map;
    f.map[1] = map;
    return f;
}
