#include "rebase.h"

#include "crc32.h"
#include "memory.h"

enum { WORD = 4 };

/* All that says where a tensor lies and of which shape it is; 1 for the order of its bytes. */
static uint32_t layout_of(const dfe_program *p) {
    const int32_t whole[] = {1,       p->state_bytes,  p->layers,     p->convs,        p->classes,
                             p->form, p->weight_shift, p->anchor_shift, p->live,
                             p->pace, p->usual_error,  p->phase,      p->error,        p->planes};
    uint32_t sum = dfe_crc32(0, whole, sizeof whole);
    for (int32_t i = 0; i < p->layers; i++) {
        const dfe_layer *layer = dfe_layers(p) + i;
        const int32_t own[] = {layer->convs, layer->anchors, dfe_feature_count(p, layer)};
        sum = dfe_crc32(sum, own, sizeof own);
        for (int32_t j = 0; j < layer->convs; j++) {
            const dfe_conv *c = dfe_convs(p, layer) + j;
            const int32_t of[] = {c->kernel_height, c->kernel_width, c->in_channels, c->channels,
                                  c->depthwise,     c->weight,       c->bias,        c->feedback};
            sum = dfe_crc32(sum, of, sizeof of);
        }
    }
    return sum;
}

void dfe_identify(const dfe_program *program, const void *first, dfe_record *record) {
    uint32_t sum = dfe_crc32(0, program, (size_t)dfe_table_bytes(program));
    record->program = dfe_crc32(sum, first, (size_t)program->state_bytes);
    record->layout = layout_of(program);
}

static int same_lineage(const dfe_record *a, const dfe_record *b) {
    for (int i = 0; i < 32; i++)
        if (a->lineage[i] != b->lineage[i]) return 0;
    return 1;
}

static int names_lineage(const dfe_record *r) {
    for (int i = 0; i < 32; i++)
        if (r->lineage[i]) return 1;
    return 0;
}

int dfe_belonging(const dfe_record *found, const dfe_record *own) {
    int akin = same_lineage(found, own);
    if (akin && found->bundle_version > own->bundle_version) return DFE_ROLLED_BACK;
    if (akin && found->program == own->program && found->layout == own->layout &&
        found->semantics_version == own->semantics_version)
        return DFE_OWN;
    if (!akin || !names_lineage(own)) return DFE_ANOTHER_LINEAGE;
    return found->layout == own->layout ? DFE_ANOTHER_PROGRAM : DFE_ANOTHER_LAYOUT;
}

static void take(void *state, const void *first, int32_t offset, int32_t bytes) {
    uint8_t *into = (uint8_t *)state + offset;
    const uint8_t *from = (const uint8_t *)first + offset;
    for (int32_t i = 0; i < bytes; i++) into[i] = from[i];
}

dfe_record dfe_rebase(const dfe_program *p, const void *first, void *state,
                      const dfe_record *found, const dfe_record *own) {
    take(state, first, p->weight_shift, p->convs);
    if (p->form == DFE_ONE_PASS) take(state, first, p->anchor_shift, p->layers);
    take(state, first, p->usual_error, WORD);
    take(state, first, p->pace, WORD);
    if (found->semantics_version != own->semantics_version) {
        take(state, first, p->phase, WORD);
        take(state, first, p->error, WORD);
    }
    dfe_record carried = *own;
    carried.steps = found->steps;
    carried.samples = found->samples;
    carried.doublings = found->doublings;
    carried.caution = found->caution;
    return carried;
}
