"""``src/layout.h``: what C knows of a table, made from what Python knows of it.

    python -m dfedge.native.layout_header        # writes it anew

Enumerations, structures and limits have one home, here or in what this file reads; a test fails
where the file that is kept differs.
"""

from collections.abc import Iterable, Iterator
from textwrap import wrap

from dfedge.native.build import SOURCES
from dfedge.native.places import MAX_CHAIN
from dfedge.native.table import ABI, FORMS, make_table
from dfedge.native.trunk import FIELDS
from dfedge.operations import OPERATIONS, Convolution, Operation
from dfedge.operations.lookup import LEVELS
from dfedge.operations.windows import MOST_POOLED
from dfedge.plan import FEEDBACKS, MAX_DITHERED_SHIFT, MAX_PACE, MAX_UPDATE_SHIFT, Conv, Layer, Plan
from dfedge.trunk import MOST_OPERATIONS

HEADER = SOURCES / "layout.h"
COLUMNS = 96
LIMITS = {
    "ABI": ABI,
    "MAX_SHIFT": MAX_DITHERED_SHIFT,
    "MAX_UPDATE_SHIFT": MAX_UPDATE_SHIFT,
    "MAX_PACE": MAX_PACE,
    "MAX_KERNEL": Convolution.most_taps,
    "MAX_POOLED": MOST_POOLED,
    "MAX_CHAIN": MAX_CHAIN,
    "MAX_OPERATIONS": MOST_OPERATIONS,
    "LEVELS": LEVELS,
}
NOTES = {
    "dfe_conv": "See dfedge/plan.py.  Offsets are bytes into the state, -1 where a tensor does not "
    "exist.",
    "dfe_layer": "first, convs: of its convolutions in the table.  joined: convolutions of a "
    "residual layer's inner branch; 0: it is none.",
    "dfe_operation": "See dfedge/operations.  kind, first, reads: of the values that go in, in the "
    "table's list.  height, width, channels: of what it makes.  place: of that in the workspace; "
    "the last one's is elsewhere.  rows: 0: a whole map; else as many rows at a time, for the next "
    "operation alone.  weight and what follows: bytes into the constants.  What a kind has no use "
    "for is zero.",
    "dfe_program": "operations to workspace: of the trunk; workspace: bytes of an image.  height, "
    "width, channels: of the image.",
}


def header() -> str:
    """The file's text."""
    plan = Plan((Layer((Conv(1, 1, 1, 1, (1, 1)),)),), 1)
    table = make_table(plan, {})
    structures = {
        "dfe_conv": table.convs[0],
        "dfe_layer": table.layers[0],
        "dfe_operation": FIELDS,
        "dfe_program": table.program,
    }
    lines = [
        "/* Made by python -m dfedge.native.layout_header from what Python knows of a table. */",
        "#ifndef DFE_LAYOUT_H",
        "#define DFE_LAYOUT_H",
        "",
        "#include <stdint.h>",
        "",
        *(f"#define DFE_{name} {value}" for name, value in LIMITS.items()),
        "",
        *_enumeration("feedback", FEEDBACKS),
        *_enumeration("form", FORMS),
        *_enumeration("kind", (kind.kind() for kind in OPERATIONS), "KINDS"),
        "",
        "/* Of every kind of operation: its name, how many values go in, at least and at most, and",
        " * what it is. */",
        "enum { DFE_WINDOWS = 1, DFE_WHOLE = 2, DFE_BY_CHANNEL = 4 };",
        "#define DFE_EVERY_KIND(X) \\",
        " \\\n".join(map(_kind, OPERATIONS)),
    ]
    for name, fields in structures.items():
        lines += ["", *_comment(NOTES[name]), *_structure(name, fields)]
    return "\n".join([*lines, "", "#endif"]) + "\n"


def _word(name: str) -> str:
    return name.upper().replace("-", "_")


def _enumeration(name: str, values: Iterable[str], count: str = "") -> Iterator[str]:
    words = [f"DFE_{_word(value)}" for value in values] + ([f"DFE_{count}"] if count else [])
    body = wrap(", ".join(words), COLUMNS - 4)
    yield from [f"enum dfe_{name} {{", *(f"    {row}" for row in body), "};"]


def _kind(kind: type[Operation]) -> str:
    flags = {"WINDOWS": kind.windows, "WHOLE": kind.whole, "BY_CHANNEL": kind.by_channel}
    said = " | ".join(f"DFE_{name}" for name, is_so in flags.items() if is_so) or "0"
    return f"    X({kind.kind()}, {kind.counts[0]}, {kind.counts[1]}, {said})"


def _comment(text: str) -> Iterator[str]:
    first, *rest = wrap(text, COLUMNS - 6)
    body = [f"/* {first}", *(f" * {row}" for row in rest)]
    yield from [*body[:-1], f"{body[-1]} */"]


def _structure(name: str, fields: Iterable[str]) -> Iterator[str]:
    body = wrap("int32_t " + ", ".join(fields) + ";", COLUMNS - 8)
    indented = [f"    {body[0]}", *(f"            {row}" for row in body[1:])]
    yield from ["typedef struct {", *indented, f"}} {name};"]


if __name__ == "__main__":
    HEADER.write_text(header())
    print(HEADER)
