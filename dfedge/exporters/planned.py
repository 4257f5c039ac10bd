"""What a step will need, computed before anything is exported.

`native` is the schedule of the fused integer kernels: the operations of the step as they are
written, every map int8, new weights written in place, errors of cells never spread, a carried error
or a residual sum narrowed as it is made.  What the C interpreter itself asks for is
`native_arena`; the schedule tells what of it belongs to which layer.

`stock` is the liveness of the stock rendering.  Under df no layer needs anything of another but
what it is handed, so each layer is traced on its own (under df-o and df-r with the one above), and
the net needs what its largest one needs; equal layers are traced once.  The format's own plan
cannot be smaller.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from msgspec.structs import replace

from dfedge.compile.blank import blank, blank_constants
from dfedge.compile.state import State, layer_of
from dfedge.exporters.formats import ExportSource, load_writer
from dfedge.exporters.golden import to_arrays
from dfedge.exporters.liveness import INPUT, Flow, blocks, footprint
from dfedge.exporters.order import pool_errors
from dfedge.exporters.program import Method, handed
from dfedge.exporters.tiles import in_tiles
from dfedge.exporters.traced import Traced, in_stock, traced
from dfedge.footprint import Footprint
from dfedge.int8.stock.tiled import FLOORS
from dfedge.native.build import compiler
from dfedge.native.program import CALLS, NativeProgram
from dfedge.native.rendering import by_interpreter
from dfedge.native.table import make_table
from dfedge.plan import Layer, Plan
from dfedge.sound import state_layout

aten, ops = torch.ops.aten, torch.ops.dfedge

FUSED = {ops.conv_back.default, ops.conv_sum.default}
"""Whose int32 result a fused kernel would narrow row by row: a byte a value."""
VIEWS = {aten.view.default, aten.select.int, aten._unsafe_view.default, aten.alias.default}


def state_bytes(state: State) -> int:
    """Of all tensors that live between calls."""
    return sum(value.numel() * value.element_size() for value in state.values())


@lru_cache(maxsize=512)
def native(plan: Plan, method: Method) -> Footprint:
    """The computed footprint of the rendering over fused kernels."""
    return _footprint(plan, method, pool_errors(traced(plan, method)), FUSED)


def interpreted(source: ExportSource, arenas: Mapping[str, int]) -> dict[str, Footprint]:
    """The footprints of methods that the C interpreter runs in arenas of these bytes.

    It reuses bytes that the schedule keeps apart.
    """
    found = {}
    for method in source.methods:
        schedule = native(source.plan, method)
        bound = min(schedule.lower_bound_bytes, arenas[method.name])
        found[method.name] = replace(schedule, lower_bound_bytes=bound)
    return found


def native_arena(plan: Plan, method: Method) -> int:
    """What the C interpreter asks for; without a compiler here, what is alive at most.

    Raises:
        DfedgeError: sizes that the interpreter does not hold.
    """
    if compiler() is None:
        return native(plan, method).lower_bound_bytes
    table = make_table(plan, to_arrays(blank(plan)), to_arrays(blank_constants(plan)))
    return NativeProgram(plan, table).arena_bytes(CALLS[method.kind], method.batch)


def arena(plan: Plan, method: Method, format: str, tile_bytes: int) -> int:
    """The computed arena of a method in a format; for what the interpreter runs, what it asks for.

    Raises:
        UsageError: no such format.
    """
    if by_interpreter(format):
        return native_arena(plan, method)
    return stock(plan, method, format, tile_bytes).lower_bound_bytes


def fits(plan: Plan, method: Method, format: str, tile_bytes: int, bytes: int) -> bool:
    """Whether that `arena` has no more than so many bytes; its largest unit alone may answer.

    Raises:
        UsageError: no such format.
    """
    if by_interpreter(format):
        return native_arena(plan, method) <= bytes
    return all(
        footprint.lower_bound_bytes <= bytes
        for footprint in _footprints(plan, method, format, tile_bytes)
    )


def stock(plan: Plan, method: Method, format: str, tile_bytes: int = FLOORS[0]) -> Footprint:
    """The computed footprint of the stock rendering: that of its largest unit.

    Args:
        tile_bytes: `dfedge.int8.stock.tiled.Tiled.floor`, where the format cuts tiles.

    Raises:
        UsageError: no such format.
    """
    return max(
        _footprints(plan, method, format, tile_bytes),
        key=lambda footprint: footprint.lower_bound_bytes,
    )


def _footprints(plan: Plan, method: Method, format: str, tile_bytes: int) -> Iterator[Footprint]:
    load_writer(format)
    kind = method.kind if plan.form == "one-pass" else f"{method.kind} whole"
    units = [plan] if kind.endswith("whole") else _units(plan, method)
    for unit in units:
        yield _unit(unit, Method(_kind(unit, method), method.batch), format, tile_bytes)


def _kind(unit: Plan, method: Method) -> str:
    if not method.learns or unit.cut == len(unit.layers):
        return "infer"
    return "train"


def _units(plan: Plan, method: Method) -> list[Plan]:
    """What can be traced on its own, one of each kind."""
    layers = [_plain(layer) for layer in plan.layers]
    whole, plan = plan, replace(plan, trunk=None)
    cut = plan.cut if method.learns else len(layers)
    units = [replace(plan, layers=(layer,), cut=1) for layer in layers[:cut]]
    if method.kind == "train_from":
        units = []
    reach = 1 if plan.feedback == "none" else 2
    for i in range(cut, len(layers)):
        units.append(replace(plan, layers=tuple(layers[max(i + 1 - reach, cut) : i + 1]), cut=0))
    if whole.trunk is not None and method.kind != "train_from":
        units.append(replace(whole, layers=(layers[0],), cut=1))
    return list(dict.fromkeys(units))


def _plain(layer: Layer) -> Layer:
    """The layer without its numbers: what is left decides the sizes."""
    convs = tuple(replace(conv, shift=7, back=7) for conv in layer.convs)
    join = layer.join and replace(layer.join, lift=(1, 1), back_lift=(1, 1))
    return replace(layer, convs=convs, join=join, score_shift=1, margin=1, pull=3, separation=1,
                   counted=True)  # fmt: skip


@lru_cache(maxsize=512)
def _unit(plan: Plan, method: Method, format: str, tile_bytes: int) -> Footprint:
    plan = replace(plan, cut=0)
    found = in_tiles(plan, method, tile_bytes) if format in TILED else in_stock(plan, method)
    return _footprint(plan, method, found, set())


TILED = ("executorch",)
"""Formats whose exporter cuts tiles."""


def _footprint(plan: Plan, method: Method, trace: Traced, fused: set[Any]) -> Footprint:
    state = state_layout(plan)
    known = {node.name: name for name, node in trace.placeholders.items()}
    constants = {name for name, tensor in known.items() if tensor not in {*state, "x", "y"}}
    written = {
        node.name: name.removesuffix(".next")
        for name, node in trace.results.items()
        if name.endswith(".next")
    }
    sizes: dict[str, int] = {}
    nodes, renamed = [], {}
    for node in trace.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor):
            width = 1 if node.target in fused else value.element_size()
            sizes[node.name] = value.numel() * width
        if node.op != "call_function" or value is None:
            continue
        read = [given.name for given in node.all_input_nodes]
        nodes.append((read, [node.name]))
        if node.target in VIEWS and read:
            renamed[node.name] = read[0]
    layers = {name: layer_of(tensor) for name, tensor in known.items()}
    flow = Flow(
        nodes=nodes,
        renamed=renamed,
        inputs=[name for name, tensor in known.items() if tensor in ("x", "y")],
        outputs=[node.name for node in trace.results.values() if node.name not in written],
        free={name for name, tensor in known.items() if tensor not in ("x", "y")} | constants
        | (set(written) if fused else set()),
        layers={n: layer for n, layer in layers.items() if layer is not None}
        | {name: INPUT for name, tensor in known.items() if tensor == "x"},
        learned={name for name, tensor in written.items() if layer_of(tensor) is not None},
        handed=handed(plan, method.batch),
    )  # fmt: skip
    return footprint(flow, blocks(flow, lambda name: sizes.get(name, 0)))
