"""The table and the first state of a net spelled out as C, for any compiler and byte order."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.native.layout import Fields, PlacedTensor
from dfedge.native.table import ProgramTable

ROW, INDENT = 96, " " * 7
"""Characters of a row of numbers, and those before the first."""
BYTES = [f" {value}," for value in (*range(128), *range(-128, 0))]
"""By an int8, as a list counts from either end."""


def spelled(table: ProgramTable, state: Mapping[str, NDArray[Any]]) -> str:
    """``net_table`` and ``net_state_first``, with their types."""
    return f"{_tables(table)}\n\n{_state(table, state)}"


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
    rows += [*members, "} net_table = {", f"    .program = {_fields(table.program)},"]
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
            "NET_CONST_SECTION static const net_state_type net_state_first = {",
            *values,
            "};",
        ]
    )


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
