#include "kept.h"

#include "operation.h"
#include "tile.h"

#if !DFE_SMALL

enum { LINE = 64 };

/* Before the panels: whose they are, and where those of each operation begin, in lines; 0: there are none. */
typedef struct {
    int32_t level;
    uint32_t line[DFE_MAX_OPERATIONS];
} contents;

static int64_t lines(int64_t bytes) { return (bytes + LINE - 1) / LINE; }

static int64_t head_lines(const dfe_program *p) {
    return lines(((int64_t)p->operations + 1) * (int64_t)sizeof(int32_t));
}

/* Bytes of an operation's panels; kept is where they go, or NULL. */
static int64_t panels_of(const dfe_program *p, int32_t number, int8_t *kept) {
    const dfe_operation *op = dfe_operations(p) + number;
    if (op->kind != DFE_CONVOLUTION) return 0;
    dfe_conv conv = dfe_windows(op, dfe_value_shape(p, dfe_value_read(p, op, 0)));
    dfe_scaling scaling = dfe_scaling_of(p, op);
    dfe_task task = {&conv, op->groups, dfe_constants(p) + op->weight, dfe_bias_of(p, op), NULL, &scaling,
                     NULL, {0, 0}, {0, 0}, dfe_all(op->channels)};
    if (kept) dfe_tile_keep(&task, kept);
    return dfe_tile_bytes(&task);
}

int64_t dfe_kept_bytes(const dfe_program *p) {
    int64_t found = head_lines(p);
    for (int32_t i = 0; i < p->operations; i++) found += lines(panels_of(p, i, NULL));
    return found * LINE;
}

void dfe_keep(const dfe_program *p, void *kept) {
    contents *c = kept;
    int64_t next = head_lines(p);
    c->level = dfe_level_used();
    for (int32_t i = 0; i < p->operations; i++) {
        int64_t made = lines(panels_of(p, i, (int8_t *)kept + next * LINE));
        c->line[i] = made ? (uint32_t)next : 0;
        next += made;
    }
}

const int8_t *dfe_kept_of(const void *kept, int32_t operation) {
    const contents *c = kept;
    if (!c || c->level != dfe_level_used() || !c->line[operation]) return NULL;
    return (const int8_t *)kept + (ptrdiff_t)c->line[operation] * LINE;
}

#endif
