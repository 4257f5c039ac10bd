"""From traces to a runtime's operators, node by node, and what the graph then holds in memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor
from torch._ops import OpOverload
from torch.fx.node import Node as Traces
from torch.fx.node import map_arg

from dfedge.compile.state import layer_of
from dfedge.errors import DfedgeError
from dfedge.exporters.formats import ExportSource
from dfedge.exporters.graph import F32, I8, I32, StockGraph
from dfedge.exporters.liveness import INPUT, Flow, blocks, footprint
from dfedge.exporters.program import Method, handed
from dfedge.exporters.traced import LATENT, Traced, in_stock, trunk_in_stock
from dfedge.footprint import Footprint
from dfedge.manifest import MemoryPlan

DTYPES = {torch.int8: I8, torch.int32: I32, torch.float32: F32, torch.bool: np.bool_}
"""Of all tensors of a trace."""


class Ref:
    """A tensor among a node's arguments."""

    def __init__(self, tensor: int) -> None:
        self.tensor = tensor


class LoweringNode:
    """A node while it is lowered: its arguments as tensors or Python values, its result's type."""

    def __init__(self, g: StockGraph, args: list[Any], value: Tensor) -> None:
        self.g, self.args = g, args
        self.shape: tuple[int, ...] = tuple(value.shape)
        self.dtype = DTYPES[value.dtype]

    def operand(self, i: int, dtype: Any = None) -> int:
        """An argument as a tensor, a number as a constant of the result's (or a given) type."""
        value = self.args[i]
        if isinstance(value, Ref):
            return value.tensor
        return self.g.const(value, dtype or self.dtype)

    def axes(self, i: int) -> list[int]:
        """An argument that lists axes; an empty list means all."""
        rank = len(self.g.shapes[self.operand(0)])
        given = self.args[i] if isinstance(self.args[i], list | tuple) else [self.args[i]]
        return [axis % rank for axis in given] or list(range(rank))

    def get(self, i: int, default: Any) -> Any:
        """An argument that may be absent."""
        return self.args[i] if len(self.args) > i and self.args[i] is not None else default

    def part(self) -> tuple[int, int, int, int]:
        """Of a slice: axis, start, stop, step."""
        axis = self.get(1, 0)
        length = self.g.shapes[self.operand(0)][axis]
        start, stop = self.get(2, 0), min(self.get(3, length), length)
        start, stop = (i + length if i < 0 else i for i in (start, stop))
        return axis, start, stop, self.get(4, 1)

    def sides(self) -> list[tuple[int, int]]:
        """Of a padding: how much goes before and behind, by axis."""
        given = self.args[1]
        pairs = [(given[i], given[i + 1]) for i in range(0, len(given), 2)][::-1]
        return [(0, 0)] * (len(self.shape) - len(pairs)) + pairs


@dataclass(frozen=True)
class Format:
    """How a format says the operators of a trace.

    Attributes:
        name: of the format, and of its folder beside this file.
        table: operator -> its lowering.
        copied: puts the values of a tensor into another.
        renaming: the kinds of operators that only give bytes another shape.
    """

    name: str
    table: Mapping[Any, Callable[[LoweringNode], int]]
    copied: Callable[[StockGraph, int], int]
    renaming: frozenset[Any]


class Lowered:
    """The methods of a source as graphs of a format; a trunk once for each batch size."""

    def __init__(self, format: Format, source: ExportSource) -> None:
        self.format, self.source = format, source
        self.above = replace(source.plan, trunk=None)
        self.trunks: dict[int, StockGraph] = {}

    def graph(self, method: Method) -> StockGraph:
        """Inputs are the state in its order, x and y; outputs the changed state and results."""
        plan, g, latent = self.source.plan, StockGraph(), None
        if plan.trunk is not None and method.kind != "train_from":
            if method.batch not in self.trunks:
                self.trunks[method.batch] = self._trunk(method.batch)
            g = self.trunks[method.batch].copy()
            latent = g.outputs.pop(LATENT)
        given = self.source.state | dict(zip("xy", method.example(plan), strict=False))
        g.inputs = {
            name: g.inputs[name] if name in g.inputs else g.tensor(value.shape, DTYPES[value.dtype])
            for name, value in given.items()
        }
        known = dict(g.inputs) if latent is None else g.inputs | {"x": latent}
        _Walk(g, self.format, method.name, known).take(in_stock(self.above, method))
        return g

    def _trunk(self, batch: int) -> StockGraph:
        plan, g = self.source.plan, StockGraph()
        (x,) = Method("infer", batch).example(plan)
        g.inputs["x"] = g.tensor(x.shape, DTYPES[x.dtype])
        known = self.source.constants | g.inputs
        _Walk(g, self.format, "trunk", known).take(trunk_in_stock(plan, batch))
        return g

    def memory(self, g: StockGraph, method: Method) -> tuple[MemoryPlan, Footprint]:
        """The graph's own liveness: state given is held by the session, new state is live."""
        held = {tensor for name, tensor in g.inputs.items() if name in self.source.state}
        layers = {
            tensor: layer
            for name, tensor in g.inputs.items()
            if (layer := INPUT if name == "x" else layer_of(name)) is not None
        }
        flow = Flow(
            nodes=[(node.inputs, [node.output]) for node in g.nodes],
            renamed={
                node.output: node.inputs[0] for node in g.nodes if node.kind in self.format.renaming
            },
            inputs=[tensor for tensor in g.inputs.values() if tensor not in held],
            outputs=list(g.outputs.values()),
            free=held | set(g.constants),
            layers=layers,
            learned={
                tensor
                for name, tensor in g.outputs.items()
                if name.endswith(".next") and layer_of(name.removesuffix(".next")) is not None
            },
            handed=handed(self.source.plan, method.batch),
        )
        found = footprint(flow, blocks(flow, g.bytes_of))
        return MemoryPlan(found.lower_bound_bytes, sum(map(g.bytes_of, held))), found


class _Walk:
    """From a trace's nodes to a graph's operators; what is constant is evaluated.

    Args:
        method: for errors.
        known: the trace's inputs: tensors of the graph, or values of constants.
    """

    def __init__(
        self, g: StockGraph, format: Format, method: str, known: Mapping[str, int | Tensor]
    ) -> None:
        self.g, self.format, self.method, self.known = g, format, method, known
        self.tensors: dict[Traces, int] = {}
        self.values: dict[Traces, Tensor] = {}

    def take(self, trace: Traced) -> None:
        """All nodes; results become the graph's outputs."""
        for name, node in trace.placeholders.items():
            given = self.known[name]
            kept: dict[Traces, Any] = self.values if isinstance(given, Tensor) else self.tensors
            kept[node] = given
        for node in trace.graph.nodes:
            if node.op == "get_attr":
                self.values[node] = getattr(trace.module, node.target)
            elif node.op == "call_function":
                self.call(node)
        for name, node in trace.results.items():
            self.g.outputs[name] = self.result(node)

    def call(self, node: Traces) -> None:
        """Lower one node, or evaluate it where all that it reads is constant."""
        if all(given in self.values for given in node.all_input_nodes):
            args, kwargs = map_arg((node.args, node.kwargs), self.values.__getitem__)
            self.values[node] = cast(OpOverload, node.target)(*args, **kwargs)
            return
        lower = self.format.table.get(node.target)
        if lower is None:
            raise DfedgeError(
                f"{self.format.name}, method {self.method}: no lowering of {node.target}; add one "
                f"to dfedge/exporters/{self.format.name}/lowerings.py, or export to another format"
            )
        lowered = LoweringNode(self.g, map_arg(list(node.args), self.ref), node.meta["val"])
        result = lower(lowered)
        assert self.g.shapes[result] == lowered.shape, (node.format_node(), self.g.shapes[result])
        assert self.g.types[result] == np.dtype(lowered.dtype), node.format_node()
        self.tensors[node] = result

    def ref(self, node: Traces) -> Any:
        """A node among another's arguments; a constant scalar as the number that it is."""
        if node in self.values:
            value = self.values[node]
            if value.dim() == 0:
                return value.item()
            return Ref(self.g.const(value.numpy(), DTYPES[value.dtype]))
        return Ref(self.tensors[node])

    def result(self, node: Traces) -> int:
        """A tensor of its own for every result: none may be an input or another result."""
        if node in self.values:
            value = self.values[node]
            tensor = self.g.const(value.numpy(), DTYPES[value.dtype])
        else:
            tensor = self.tensors[node]
        taken = {*self.g.inputs.values(), *self.g.outputs.values(), *self.g.constants}
        return self.format.copied(self.g, tensor) if tensor in taken else tensor
