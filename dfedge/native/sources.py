"""A net as C source: static tables, the first state, and a block of memory for all calls.

    net.h       sizes and calls (`dfedge.native.header`)
    net.c       the table, the state and the arena

No number is computed on the device that could be written down here, nothing is allocated.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.data.inputs.rule import InC
from dfedge.native.header import NetSources
from dfedge.native.layout import Fields, PlacedTensor
from dfedge.native.naming import c_string
from dfedge.native.table import ProgramTable

ROW, INDENT = 96, " " * 7
"""Characters of a row of numbers, and those before the first."""
BYTES = [f" {value}," for value in (*range(128), *range(-128, 0))]
"""By an int8, as a list counts from either end."""


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
        _tables(net.table),
        _state(net.table, net.state),
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
typedef char net_table_is_as_large_as_planned[sizeof table == NET_TABLE_BYTES ? 1 : -1];
typedef char net_state_is_as_large_as_planned[sizeof(net_state_type) == NET_STATE_BYTES ? 1 : -1];

NET_STATE_SECTION static net_state_type state;
NET_ARENA_SECTION static int32_t arena[(NET_ARENA_BYTES + 3) / 4];
static net_counts counts;
static net_answer *begun; /* NULL: no call in slices */
static int32_t begun_row; /* -1: it predicts */
static dfe_job job;

const dfe_program *net_program(void) { return &table.program; }

void *net_state(void) { return &state; }

void net_reset(void) {
    const net_counts none = {0, 0, 0, 0};
    state = first;
    counts = none;
    begun = NULL;
}

const void *net_first(void) { return &first; }

void *net_arena(void) { return arena; }

int net_infer(int32_t batch, const int8_t *x, int32_t *scores) {
    if (begun) return DFE_BUSY;
    return dfe_infer(&table.program, &state, batch, x, scores, arena, sizeof arena);
}

static void count(int32_t samples) {
    counts.steps++;
    counts.samples += (uint32_t)samples;
}

int net_step(int32_t batch, const int8_t *x, const int32_t *y, int32_t *scores, int32_t *active) {
    if (begun) return DFE_BUSY;
    int status = dfe_step(&table.program, &state, batch, x, y, scores, active, arena, sizeof arena);
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
    int status = dfe_begin(&job, call, &table.program, &state, 1, x, &begun_row, answer->scores,
                           active, arena, sizeof arena);
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


def _fields(fields: Fields) -> str:
    return "{" + ", ".join(f".{name} = {value}" for name, value in fields.items()) + "}"


def _tables(table: ProgramTable) -> str:
    frozen = table.frozen
    groups = {
        "dfe_layer layers": table.layers,
        "dfe_conv convs": table.convs,
        "dfe_operation operations": frozen.operations,
    }
    rows = ["NET_CONST_SECTION static const struct {", "    dfe_program program;"]
    rows += [f"    {name}[{len(group)}];" for name, group in groups.items() if group]
    rows += [f"    int32_t reads[{len(frozen.reads)}];"] if frozen.reads else []
    members, values = _typed(frozen.constants, frozen.values)
    rows += [*members, "} table = {", f"    .program = {_fields(table.program)},"]
    for name, group in groups.items():
        lines = [f"        {_fields(one)}," for one in group]
        rows += [f"    .{name.split()[1]} = {{", *lines, "    },"] if group else []
    if frozen.reads:
        rows += ["    .reads = {", *numbers(np.array(frozen.reads)), "    },"]
    return "\n".join([*rows, *values, "};"])


def _state(table: ProgramTable, state: Mapping[str, NDArray[Any]]) -> str:
    members, values = _typed(table.tensors, state)
    return "\n".join(
        [
            "typedef struct {",
            *members,
            "} net_state_type;",
            "",
            "NET_CONST_SECTION static const net_state_type first = {",
            *values,
            "};",
        ]
    )


def _labels(net: NetSources) -> str:
    spare = net.table.program["classes"] - len(net.classes)
    names = [f"    {c_string(name)}," for name in (*net.classes, *[""] * spare)]
    return "\n".join(["const char *const net_labels[NET_CLASSES] = {", *names, "};"])


def _typed(
    tensors: Mapping[str, PlacedTensor], given: Mapping[str, NDArray[Any]]
) -> tuple[list[str], list[str]]:
    """Members of a structure, and their values: right on either byte order.

    int8 tensors are filled up to a word.
    """
    members, values = [], []
    for name, tensor in tensors.items():
        member = name.replace(".", "_")
        member = f"step{member}" if member[0].isdigit() else member
        kind = {"i1": "int8_t", "i4": "int32_t"}[tensor.dtype]
        size = -(-tensor.bytes // 4) * (4 if kind == "int8_t" else 1)
        members.append(f"    {kind} {member}[{size}];")
        values += [f"    .{member} = {{", *numbers(given[name]), "    },"]
    return members, values


def numbers(values: NDArray[Any]) -> Iterator[str]:
    """The rows between the braces of an array."""
    flat = np.ravel(values)
    many = flat.dtype == np.int8  # of which a net has millions
    words = [BYTES[v] for v in flat.tolist()] if many else [f" {v}," for v in flat.tolist()]
    ends = list(accumulate(map(len, words), initial=0))
    start, room = 0, ROW - len(INDENT)
    while True:
        end = bisect_right(ends, ends[start] + room) - 1
        yield INDENT + "".join(words[start:end])
        start = end
        if start == len(words):
            return
