"""How often the bodies of the loops run in ``src/trunk.c`` and ``src/op_*.c``."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import prod

from dfedge.native.instructions.forward import Counts, convolution
from dfedge.native.instructions.kernels import OUTPUTS, Geometry, Kernels, Zone
from dfedge.native.layout import Fields
from dfedge.native.table import ProgramTable
from dfedge.operations import OPERATIONS

KINDS = [kind.kind() for kind in OPERATIONS]
WINDOWS = ("convolution", "average_pool", "max_pool")
Shape = tuple[int, int, int]


def trunk(k: Kernels, table: ProgramTable) -> Counts:
    """``dfe_trunk`` of one image."""
    found: Counts = Counter()
    operations, program = table.frozen.operations, table.program
    shapes = [(program["height"], program["width"], program["channels"])]
    shapes += [(op["height"], op["width"], op["channels"]) for op in operations]
    for i, op in enumerate(operations):
        reads = [shapes[n] for n in table.frozen.reads[op["first"] : op["first"] + op["reads"]]]
        by_rows = op["rows"] > 0 or (i > 0 and operations[i - 1]["rows"] > 0)
        found += (_rows if by_rows else _whole)(k, op, reads)
        if by_rows and op["rows"]:
            found["row.moved"] += _moved(op, operations[i + 1])
    return found


def _geometry(op: Fields, given: Shape) -> Geometry:
    alone = op["groups"] == given[2] == op["channels"] and KINDS[op["kind"]] == "convolution"
    height, width, channels = given
    return Geometry.of(
        op | {"height": height, "width": width, "in_channels": channels, "depthwise": int(alone)}
    )


def _rows(k: Kernels, op: Fields, reads: Sequence[Shape]) -> Counts:
    """Every row is made once, from the rows of its window."""
    found: Counts = Counter({"row": op["height"]})
    if KINDS[op["kind"]] not in WINDOWS:
        one = [(1, *shape[1:]) for shape in reads]
        for name, count in _whole(k, op | {"height": 1}, one).items():
            found[name] += count * op["height"]
        return found
    whole = _geometry(op, reads[0])
    for zone in whole.rows:
        top = zone.begin if zone.taps else whole.kernel_height
        row = replace(whole, height=zone.taps, top=top,
                      bottom=whole.kernel_height - zone.taps - top)  # fmt: skip
        for name, count in _windowed(k, op | {"height": 1}, row, reads[0]).items():
            found[name] += count * zone.count
    return found


def _moved(op: Fields, after: Fields) -> int:
    """Bytes of rows that are kept for the next row of what reads them."""
    kept = max(after["kernel_height"] - after["stride"], 0)
    return after["height"] * kept * op["width"] * op["channels"]


def _whole(k: Kernels, op: Fields, reads: Sequence[Shape]) -> Counts:
    kind = KINDS[op["kind"]]
    if kind in WINDOWS:
        return _windowed(k, op, _geometry(op, reads[0]), reads[0])
    places, channels = op["height"] * op["width"], op["channels"]
    values = places * channels
    found = Counter({"operation": 1, "times" if kind == "multiply" else kind: 1})
    if kind == "pad":
        return found + Counter({"pad.row": op["height"], "pad.value": values})
    if kind == "add":
        return found + Counter({"add.part": -(-values // OUTPUTS), "add.value": values})
    if kind == "multiply":
        tiles = places * -(-channels // OUTPUTS)
        return found + Counter({"times.place": places, "times.part": tiles, "times.value": values})
    if kind == "lookup":
        return found + Counter({"lookup.each" if op["groups"] > 1 else "lookup.value": values})
    if kind == "concat":
        copies, copied = places * op["reads"], places * sum(shape[2] for shape in reads)
        return found + Counter(
            {"concat.read": op["reads"], "concat.copy": copies, "concat.value": copied}
        )
    if kind == "gather":
        return found + Counter(
            {"gather.row": op["height"], "gather.place": places, "gather.value": values}
        )
    return found + Counter({"select.place": places, "select.value": values})


def _windowed(k: Kernels, op: Fields, c: Geometry, given: Shape) -> Counts:
    kind = KINDS[op["kind"]]
    if kind == "convolution":
        found = convolution(k, c, op["groups"], scaled=True)
        found["operation"] += 1
        return found
    tiles, channels = -(-given[2] // OUTPUTS), given[2]
    name = "average" if kind == "average_pool" else "maximum"
    taps = sum(_taps(y) for y in c.rows) * sum(_taps(x) for x in c.columns)
    places = op["height"] * c.out_width
    whole = c.kernel_height * c.kernel_width
    inside = sum(y.count * x.count for y in c.rows for x in c.columns if y.taps * x.taps == whole)
    lines = sum(_taps(y) for y in c.rows) * c.out_width
    return Counter({
        "operation": 1, name: 1, f"{name}.place": places, f"{name}.part": places * tiles,
        f"{name}.line": lines * tiles, f"{name}.tap": taps * tiles,
        f"{name}.value": taps * channels, f"{name}.output": places * channels,
        f"{name}.border": places - inside if name == "average" else 0,
        f"{name}.row": op["height"],
    })  # fmt: skip


def _taps(zone: Zone) -> int:
    return zone.count * zone.taps


def slices(
    k: Kernels, table: ProgramTable, part: Callable[[Kernels, Geometry, int, bool], Counts]
) -> Iterator[Counts]:
    """What ``dfe_trunk_some`` does at a time: some outputs, a whole map, or a row of a chain.

    Args:
        part: counts of as many outputs of a convolution as are one slice's.
    """
    operations, program = table.frozen.operations, table.program
    shapes = [(program["height"], program["width"], program["channels"])]
    shapes += [(op["height"], op["width"], op["channels"]) for op in operations]
    for i, op in enumerate(operations):
        reads = [shapes[n] for n in table.frozen.reads[op["first"] : op["first"] + op["reads"]]]
        if op["rows"]:
            continue
        if i and operations[i - 1]["rows"]:
            yield _chain_slice(k, table, shapes, i)
        elif KINDS[op["kind"]] == "convolution":
            made = part(k, _geometry(op, reads[0]), op["groups"], True)
            yield Counter({"operation": 1}) + made
        else:
            yield _whole(k, op, reads)


def _chain_slice(k: Kernels, table: ProgramTable, shapes: Sequence[Shape], last: int) -> Counts:
    """The first row of a chain's last operation, which needs the most rows of the others."""
    operations, found, rows, i = table.frozen.operations, Counter[str](), 1, last
    while True:
        op = operations[i]
        reads = [shapes[n] for n in table.frozen.reads[op["first"] : op["first"] + op["reads"]]]
        each = _rows(k, op, reads)
        for name, count in each.items():
            found[name] += -(-count * rows * 3 // (op["height"] * 2))  # at a border rows cost less
        if i == 0 or not operations[i - 1]["rows"]:
            return found
        rows = min((rows - 1) * max(op["stride"], 1) + max(op["kernel_height"], 1),
                   operations[i - 1]["height"])  # fmt: skip
        i -= 1
        found["row.moved"] += _moved(operations[i], operations[i + 1])


def checked(table: ProgramTable) -> Counts:
    """``dfe_check``."""
    found: Counts = Counter({
        "check": 1, "check.layer": len(table.layers), "check.conv": len(table.convs),
        "check.operation": len(table.frozen.operations), "check.read": len(table.frozen.reads),
    })  # fmt: skip
    for op in table.frozen.operations:
        kind = KINDS[op["kind"]]
        found["check.scale"] += op["channels"] if kind == "convolution" else 0
        found["check.table"] += 128 * op["groups"] if kind == "lookup" else 0
        orders = {"select": op["channels"], "gather": op["height"] + op["width"]}
        found["check.order"] += orders.get(kind, 0)
    return found


def values(program: Fields) -> int:
    """Of one sample."""
    return prod(program[name] for name in ("height", "width", "channels"))
