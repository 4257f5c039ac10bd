"""A program as a list: every operation in order, what it reads and makes, where that lies, what it
brings along, and what a training step adds.  Read off the plan that a bundle's manifest carries.
"""

from collections.abc import Iterator
from math import prod

import msgspec

from dfedge.maps import cell_grid, pool_window
from dfedge.native.places import Placement, place
from dfedge.operations import Operation
from dfedge.plan import Conv, Layer, Plan, Shape
from dfedge.sound import state_layout
from dfedge.trunk import Trunk

INT_BYTES = {"int8": 1, "int32": 4}


class OperationRow(msgspec.Struct, frozen=True):
    """One operation.

    Attributes:
        number: its place in the program.
        operation: its kind; of a trunk as in the manifest.
        where: the foreign net's node, or the layer.
        reads: what goes in: names of values.
        makes: [H, W, C] of the result, and ``name``, what later rows call it.
        place: in memory: offset in the trunk's workspace, or what it takes turns in.
        bytes: of the result as it lies there.
        constant_bytes, state_bytes: that it brings along: in flash, and in the state.
        kernel: the function in C.
        learns: whether a step changes what it brings along.
        training: whether only a training step has it; the others are inference.
    """

    number: int
    operation: str
    where: str
    reads: list[str]
    name: str
    makes: tuple[int, ...]
    place: str
    bytes: int
    constant_bytes: int
    state_bytes: int
    kernel: str
    learns: bool
    training: bool = False


def listing(plan: Plan) -> list[OperationRow]:
    """Every operation of a plan in order.

    What a step adds to a layer follows its goodness; where a layer waits for the error of the one
    above (`df-o`, `df-r`), it is done when that is there.
    """
    rows: list[OperationRow] = []
    last = "image"
    if plan.trunk is not None:
        rows += _trunk(plan.trunk)
        last = rows[-1].name
    sizes = {name: INT_BYTES[kind] * prod(shape) for name, (kind, shape) in
             state_layout(plan).items()}  # fmt: skip
    for i, layer in enumerate(plan.layers):
        made = list(_layer(plan, i, layer, last, len(rows), sizes))
        rows += made
        last = made[-1].name
    return rows


def _trunk(trunk: Trunk) -> Iterator[OperationRow]:
    placed, constants = place(trunk), trunk.constants()
    names = ["image", *(f"v{i + 1}" for i in range(len(trunk.operations)))]
    for i, operation in enumerate(trunk.operations):
        brought = [kind for name, kind in constants.items() if name.startswith(f"{i}.")]
        kind = operation.kind()
        yield OperationRow(
            i,
            kind,
            operation.name,
            [names[read] for read in operation.reads],
            names[i + 1],
            operation.shape,
            *_place(placed, i, operation, len(trunk.operations)),
            sum(INT_BYTES[of] * prod(shape) for of, shape in brought),
            0,
            f"dfe_run_{kind}",
            False,
        )


def _place(placed: Placement, i: int, operation: Operation, count: int) -> tuple[str, int]:
    """Where a value of the trunk lies, and how much of it at a time."""
    rows = placed.rows[i] or operation.shape[0]
    if i + 1 == count:
        return "the first layer's input", prod(operation.shape)
    said = f"workspace + {placed.offsets[i]}"
    if placed.rows[i]:
        said += f", {rows} row{'s' if rows > 1 else ''} at a time"
    return said, rows * prod(operation.shape[1:])


def _layer(
    plan: Plan, i: int, layer: Layer, given: str, number: int, sizes: dict[str, int]
) -> Iterator[OperationRow]:
    learns = i >= plan.cut
    end, name = layer.ends, f"layer{i}"

    def row(
        operation: str, reads: list[str], made: str, shape: Shape | tuple[int, ...], state: int,
        kernel: str, place: str = "arena",
    ) -> OperationRow:  # fmt: skip
        nonlocal number
        number += 1
        wide = INT_BYTES["int32"] if made.endswith((".scores", ".goodness")) else 1
        return OperationRow(
            number - 1,
            operation,
            name,
            reads,
            made,
            tuple(shape),
            place,
            wide * prod(shape),
            0,
            state,
            kernel,
            learns and state > 0,
        )

    read = given
    for j, conv in enumerate(layer.convs):
        skip = layer.skip is not None and j == layer.chain
        made = f"{name}.{'skip' if skip else f'h{j}'}"
        state = sum(size for part, size in sizes.items() if part.startswith(f"{name}.conv{j}."))
        kernel = "dfe_conv_join" if layer.join and j == layer.chain - 1 else "dfe_conv_relu"
        reads = [given] if skip else [read]
        yield row(_said(conv), reads, made, conv.output, state, kernel)
        read = read if skip else made
    output = read
    if layer.join is not None:
        beside = f"{name}.skip" if layer.skip else given
        output = f"{name}.sum"
        shape = end.output
        yield row("add, relu", [read, beside], output, shape, 0, "dfe_conv_join")
    if plan.form == "label-plane":
        yield row("energy", [output], f"{name}.goodness", (1,), 0, "dfe_energy")
    else:
        down, across = cell_grid(end.output[:2], layer.cells)
        cells = f"mean of {down} x {across} cells" if down * across > 1 else "mean"
        yield row(cells, [output], f"{name}.p", (layer.features,), 0, "dfe_pool_cells")
        counted = "" if layer.counted else ", not counted"
        yield row(f"distances to anchors{counted}", [f"{name}.p"], f"{name}.scores",
                  (plan.classes,), sizes[f"{name}.anchors"], "dfe_judge")  # fmt: skip
    if learns:
        for one in _learning(plan, i, name, number, sizes):
            yield one
            number += 1
    if layer.pool:
        window = " x ".join(map(str, pool_window(end.output[:2])))
        yield row(f"max_pool {window}", [output], f"{name}.out", layer.hands_on, 0, "dfe_max_pool")
    elif layer.mean:
        yield row("hand on the means", [f"{name}.p"], f"{name}.out", layer.hands_on, 0,
                  "dfe_pool_cells")  # fmt: skip
    else:
        yield row("hand on", [output], f"{name}.out", layer.hands_on, 0, "", "the same bytes")


def _learning(
    plan: Plan, i: int, name: str, number: int, sizes: dict[str, int]
) -> Iterator[OperationRow]:
    """What a step adds to a layer that learns."""
    layer, plane = plan.layers[i], plan.form == "label-plane"
    end = layer.ends
    shape = end.output
    moved = sum(size for part, size in sizes.items()
                if part.startswith(f"{name}.conv") and part.endswith(".weight"))  # fmt: skip
    goodness = f"{name}.goodness" if plane else f"{name}.scores"
    rows: list[tuple[str, list[str], str, tuple[int, ...], str]] = [
        ("contrast with the hardest class", [goodness, "label"], f"{name}.error",
         shape if plane else (layer.features,),
         "dfe_plane_learn" if plane else "dfe_judge"),
    ]  # fmt: skip
    above = i + 1 < len(plan.layers) and plan.feedback != "none"
    if above:
        rows.append(("add the error from above", [f"{name}.error", f"layer{i + 1}.carried"],
                     f"{name}.error", shape, "dfe_down"))  # fmt: skip
    if i > plan.cut and plan.feedback != "none":
        first = layer.convs[0]
        seen = (first.height, first.width, first.in_channels)
        rows.append(
            ("carry the error down", [f"{name}.error"], f"{name}.carried", seen, "dfe_down")
        )
    rows.append(("update weights", [f"{name}.error"], f"{name}.conv*", (moved,),
                 "dfe_move"))  # fmt: skip
    if not plane:
        anchors = plan.classes, layer.features
        rows.append(("update anchors", [f"{name}.p", "label"], f"{name}.anchors", anchors,
                     "dfe_settle"))  # fmt: skip
    for j, (operation, reads, made, makes, kernel) in enumerate(rows):
        state = made.endswith((".conv*", ".anchors"))
        yield OperationRow(
            number + j,
            operation,
            name,
            reads,
            made,
            makes,
            "state" if state else "arena",
            prod(makes),
            0,
            0,
            kernel,
            False,
            True,
        )


def _said(conv: Conv) -> str:
    kind = "depthwise convolution" if conv.depthwise else "convolution"
    stride = f", stride {conv.stride}" if conv.stride > 1 else ""
    return f"{kind} {conv.kernel[0]} x {conv.kernel[1]}{stride}, relu"
