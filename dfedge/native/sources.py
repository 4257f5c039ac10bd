"""A net as C source: static tables, the first state, and a block of memory for both calls.

    dfedge/     the kernels and the interpreter, as they lie in `dfedge.native`
    net.h       sizes, and ``net_step`` / ``net_infer``
    net.c       the table, the state and the arena
    known.h     perhaps: samples of what the net knows, and known.c (`dfedge.native.known`)
    net_normal.h  perhaps: how far from normal a sample is (`dfedge.native.normal`)
    net.dfe     table and state as one file, for the program in run/ (`dfedge.native.image`)
    CMakeLists.txt

No number is computed on the device that could be written down here, nothing is allocated.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.data.inputs.rule import InC
from dfedge.native import build
from dfedge.native.image import Identity
from dfedge.native.layout import Fields, Tensor
from dfedge.native.table import Table

ROW = 96
"""Characters of a row of numbers."""


def compiled(header: str, source: str) -> dict[str, bytes]:
    """Every file that becomes the library, by its path in the folder."""
    kernels = {f"dfedge/{path.name}": path.read_bytes() for path in sorted(build.SOURCES.iterdir())}
    return kernels | {"net.h": header.encode(), "net.c": source.encode()}


def differing(folder: Path, wanted: dict[str, bytes]) -> str | None:
    """The first file under a folder that is not as wanted, or that would be compiled as well."""
    for name, content in wanted.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            return name
    found = (path.relative_to(folder) for path in build.compiled_files(folder))
    return next((path.as_posix() for path in found if path.as_posix() not in wanted), None)


def header(
    shape: tuple[int, int, int],
    table: Table,
    batch: int,
    arena_bytes: int,
    identity: Identity,
    input: InC | None = None,
) -> str:
    """``net.h`` for samples [H, W, C] in batches of at most ``batch``.

    Args:
        input: how a sample is made into x.
    """
    height, width, channels = shape
    lineage = [f"0x{byte:02x}" for byte in identity.lineage_bytes]
    row = ", \\\n                 "
    rows = row.join(", ".join(lineage[i : i + 8]) for i in range(0, len(lineage), 8))
    return f"""/* Made by dfedge export; see dfedge/dfedge.h for what the calls do and refuse. */
#ifndef NET_H
#define NET_H

#include "dfedge/dfedge.h"

#define NET_HEIGHT {height}
#define NET_WIDTH {width}
#define NET_CHANNELS {channels}
#define NET_CLASSES {table.program["classes"]}
#define NET_LAYERS {table.program["layers"]}
#define NET_BATCH {batch}
#define NET_TABLE_BYTES {table.words.nbytes}
#define NET_STATE_BYTES {table.state_bytes}
#define NET_ARENA_BYTES {arena_bytes}

/* A dfe_record of this net, for dfe_identify: see dfedge/rebase.h and dfedge/store.h. */
#define NET_RECORD \\
    {{.lineage = {{{rows}}}, \\
     .bundle_version = {identity.bundle_version}, \\
     .semantics_version = {identity.semantics_version}}}

/* The table, with a trunk's constants, and the state in memory: what training changes. */
const dfe_program *net_program(void);
void *net_state(void);

/* Back to the state that was exported; the first thing to call. That state lies in flash. */
void net_reset(void);
const void *net_first(void);

/* What both calls below work in, NET_ARENA_BYTES. */
void *net_arena(void);

/* At most NET_BATCH samples; a dfe_status. */
int net_infer(int32_t batch, const int8_t *x, int32_t *scores);
int net_step(int32_t batch, const int8_t *x, const int32_t *y, int32_t *scores, int32_t *active);
{_input_declared(input)}
#endif
"""


def _input_declared(input: InC | None) -> str:
    return f"\n/* {input.says} */\n{input.prototype};\n" if input else ""


def input_defined(input: InC) -> str:
    """How a sample is made into x, as ``net.c`` has it."""
    includes = [f'#include "dfedge/{name}"' for name in input.includes]
    function = f"{input.prototype} {{\n{input.body}\n}}\n"
    return "\n\n".join(filter(None, ["\n".join(includes), input.tables, function]))


def source(table: Table, state: dict[str, NDArray[Any]], input: InC | None = None) -> str:
    """``net.c``."""
    parts = [
        "/* Made by dfedge export: the net as data. */",
        '#include "net.h"',
        _tables(table),
        _state(table, state),
        CALLS,
    ]
    parts += [input_defined(input)] if input else []
    return "\n\n".join(parts)


CALLS = """/* A table, a state and an arena that disagree do not compile. */
typedef char net_table_is_as_large_as_planned[sizeof table == NET_TABLE_BYTES ? 1 : -1];
typedef char net_state_is_as_large_as_planned[sizeof(net_state_type) == NET_STATE_BYTES ? 1 : -1];

static net_state_type state;
static int32_t arena[(NET_ARENA_BYTES + 3) / 4];

const dfe_program *net_program(void) { return &table.program; }

void *net_state(void) { return &state; }

void net_reset(void) { state = first; }

const void *net_first(void) { return &first; }

void *net_arena(void) { return arena; }

int net_infer(int32_t batch, const int8_t *x, int32_t *scores) {
    return dfe_infer(&table.program, &state, batch, x, scores, arena, sizeof arena);
}

int net_step(int32_t batch, const int8_t *x, const int32_t *y, int32_t *scores, int32_t *active) {
    return dfe_step(&table.program, &state, batch, x, y, scores, active, arena, sizeof arena);
}
"""


def _fields(fields: Fields) -> str:
    return "{" + ", ".join(f".{name} = {value}" for name, value in fields.items()) + "}"


def _tables(table: Table) -> str:
    frozen = table.frozen
    groups = {
        "dfe_layer layers": table.layers,
        "dfe_conv convs": table.convs,
        "dfe_operation operations": frozen.operations,
    }
    rows = ["static const struct {", "    dfe_program program;"]
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


def _state(table: Table, state: dict[str, NDArray[Any]]) -> str:
    members, values = _typed(table.tensors, state)
    return "\n".join(
        ["typedef struct {", *members, "} net_state_type;", "",
         "static const net_state_type first = {", *values, "};"]
    )  # fmt: skip


def _typed(
    tensors: Mapping[str, Tensor], given: Mapping[str, NDArray[Any]]
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
    line = "       "
    for value in np.ravel(values):
        word = f" {value},"
        if len(line) + len(word) > ROW:
            yield line
            line = "       "
        line += word
    yield line


def cmake(small: bool, cpu: str | None, more: tuple[str, ...] = ()) -> str:
    """``CMakeLists.txt``: the library ``net``, to be linked with a program of one's own.

    Args:
        small: tiles for a microcontroller's stack.
        cpu: of a board whose startup code and linker file lie in the folder ``board``.
        more: sources beside ``net.c``.
    """
    lines = [
        "cmake_minimum_required(VERSION 3.16)",
        "project(net C)",
        "if(NOT CMAKE_BUILD_TYPE)",
        "  set(CMAKE_BUILD_TYPE Release)",
        "endif()",
        "file(GLOB kernels ${CMAKE_CURRENT_SOURCE_DIR}/dfedge/*.c)",
        f"add_library(net STATIC {' '.join(('net.c', *more))} ${{kernels}})",
        "set_target_properties(net PROPERTIES C_STANDARD 99)",
        "target_include_directories(net PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})",
    ]
    if small:
        lines.append("target_compile_definitions(net PUBLIC DFE_SMALL)")
    if cpu:
        lines += [f"set(NET_CPU {cpu} CACHE STRING processor)", "include(board/board.cmake)"]
    lines += [
        "if(NOT CMAKE_CROSSCOMPILING OR UNIX)",
        "  file(GLOB runner ${CMAKE_CURRENT_SOURCE_DIR}/run/*.c)",
        "  add_executable(dfedge-run ${runner} ${kernels})",
        "  set_target_properties(dfedge-run PROPERTIES C_STANDARD 99)",
        "  target_include_directories(dfedge-run PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/dfedge)",
        "endif()",
        "if(NET_MAIN) # cmake -DNET_MAIN=main.c: a program of your own",
        "  add_executable(app ${NET_MAIN})",
        "  target_link_libraries(app net)",
        "endif()",
    ]
    return "\n".join(lines) + "\n"
