"""A net as C source: static tables, the first state, and a block of memory for all calls.

    net.h       sizes and calls (`dfedge.native.header`)
    net.c       the table, the state and the arena
    net_data.S  perhaps: the table and the first state (`dfedge.native.included`)

No number is computed on the device that could be written down here, nothing is allocated.
"""

from dfedge.data.inputs.rule import InC
from dfedge.native.header import NetSources
from dfedge.native.included import DECLARED
from dfedge.native.naming import c_string
from dfedge.native.spelled import spelled


def input_defined(input: InC) -> str:
    """How a sample is made into x, as ``net.c`` has it."""
    includes = [f'#include "dfedge/{name}"' for name in input.includes]
    function = f"{input.prototype} {{\n{input.body}\n}}\n"
    return "\n\n".join(filter(None, ["\n".join(includes), input.tables, function]))


def source(net: NetSources) -> str:
    """``net.c``."""
    parts = [
        "/* Made by dfedge export: the net as data. */",
        '#include "net.h"',
        '#include "dfedge/answer.h"',
        '#include "dfedge/job.h"',
        SECTIONS,
        DECLARED if net.binary else spelled(net.table, net.state),
        _labels(net),
        CALLS,
    ]
    parts += [input_defined(net.input)] if net.input else []
    return "\n\n".join(parts)


SECTIONS = """/* Where these lie, before each of them: __attribute__((section(".dtcm"))). */
#ifndef NET_ARENA_SECTION
#define NET_ARENA_SECTION /* what calls work in: the fastest memory */
#endif
#ifndef NET_STATE_SECTION
#define NET_STATE_SECTION /* what learning changes */
#endif
#ifndef NET_CONST_SECTION
#define NET_CONST_SECTION /* the table and the first state: flash */
#endif"""

CALLS = """/* A table, a state and an arena that disagree do not compile. */
typedef char net_table_is_as_large_as_planned[sizeof net_table == NET_TABLE_BYTES ? 1 : -1];
typedef char net_state_is_as_large_as_planned[sizeof(net_state_type) == NET_STATE_BYTES ? 1 : -1];

NET_STATE_SECTION static net_state_type state;
NET_ARENA_SECTION static int32_t arena[(NET_ARENA_BYTES + 3) / 4];
static net_counts counts;
static net_answer *begun; /* NULL: no call in slices */
static int32_t begun_row; /* -1: it predicts */
static dfe_job job;

const dfe_program *net_program(void) { return &net_table.program; }

void *net_state(void) { return &state; }

void net_reset(void) {
    const net_counts none = {0, 0, 0, 0};
    state = net_state_first;
    counts = none;
    begun = NULL;
}

const void *net_first(void) { return &net_state_first; }

void *net_arena(void) { return arena; }

int net_infer(int32_t batch, const int8_t *x, int32_t *scores) {
    if (begun) return DFE_BUSY;
    return dfe_infer(&net_table.program, &state, batch, x, scores, arena, sizeof arena);
}

static void count(int32_t samples) {
    counts.steps++;
    counts.samples += (uint32_t)samples;
}

int net_step(int32_t batch, const int8_t *x, const int32_t *y, int32_t *scores, int32_t *active) {
    if (begun) return DFE_BUSY;
    int status = dfe_step(&net_table.program, &state, batch, x, y, scores, active, arena,
                          sizeof arena);
    if (status != DFE_OK) return status;
    count(batch);
    return DFE_OK;
}

net_counts *net_learned(void) { return &counts; }

static int told(int status, net_answer *answer) {
    if (status != DFE_OK) return status;
    answer->row = dfe_nearest(answer->scores, NET_CLASSES, &answer->margin);
    answer->score = answer->scores[answer->row];
    answer->unsure = answer->margin < NET_UNSURE_BELOW;
    return DFE_OK;
}

int net_predict(const int8_t *x, net_answer *answer) {
    return told(net_infer(1, x, answer->scores), answer);
}

int net_learn(const int8_t *x, int32_t row, net_answer *answer) {
    int32_t active[NET_LAYERS];
    return told(net_step(1, x, &row, answer->scores, active), answer);
}

static int begin(int call, const int8_t *x, int32_t row, net_answer *answer) {
    static int32_t active[NET_LAYERS];
    if (begun) return DFE_BUSY;
    begun_row = row;
    int status = dfe_begin(&job, call, &net_table.program, &state, 1, x, &begun_row,
                           answer->scores, active, arena, sizeof arena);
    if (status == DFE_OK) begun = answer;
    return status;
}

int net_begin_predict(const int8_t *x, net_answer *answer) {
    return begin(DFE_INFER, x, -1, answer);
}

int net_begin_learn(const int8_t *x, int32_t row, net_answer *answer) {
    return row < 0 ? DFE_BAD_LABEL : begin(DFE_TRAIN, x, row, answer);
}

int net_go(void) {
    if (!begun) return DFE_BAD_CALL;
    int status = dfe_go(&job);
    if (status == DFE_MORE) return status;
    net_answer *answer = begun;
    begun = NULL;
    if (begun_row >= 0) count(1);
    return told(status, answer);
}

int net_busy(void) { return begun != NULL; }
"""


def _labels(net: NetSources) -> str:
    spare = net.table.program["classes"] - len(net.classes)
    names = [f"    {c_string(name)}," for name in (*net.classes, *[""] * spare)]
    return "\n".join(["const char *const net_labels[NET_CLASSES] = {", *names, "};"])
