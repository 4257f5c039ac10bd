"""What ExecuTorch plans for a step in float32, computed from its trace without ExecuTorch.

Its own lowering takes longer than all else in a profile, most of it to be imported.  Of its passes
these change a plan: an operator writes into tensors that are allocated just before it, what shares
bytes in torch is a copy, but for a view; a view is one of the tensor that it was first made from,
and a copy where it is returned; a number is an input, and is cast where a whole one meets floats;
what is written back is once more a result.  The planner is the greedy one.  `tests/test_rivals.py`
holds every figure against ExecuTorch's own.
"""

import operator
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from dfedge.exporters.executorch_plan import ARENA
from dfedge.exporters.order import write_back_early
from dfedge.exporters.traced import Traced

aten = torch.ops.aten
ALIGNMENT = 16
NEXT = ".next"
"""How the names of results end that are written back."""
STATE = 2
"""Where the planner puts what is written back."""
INPUT = "x"
"""The input before which the numbers stand."""
VIEWS = {aten.view.default, aten._unsafe_view.default}


@dataclass(eq=False)
class Spec:
    """A tensor's bytes and, once planned, its place; attributes as ExecuTorch names them."""

    allocated_memory: int
    mem_id: int | None = ARENA
    mem_offset: int = 0
    lifetime: list[int] = field(default_factory=list)


def next_of(name: str) -> str:
    """The name of the result that is written back into an input."""
    return f"{name}{NEXT}"


def computed_plan(trace: Traced, constants: Iterable[str] = ()) -> tuple[int, GraphModule]:
    """The bytes of the arena, and the graph as `planned_footprint` reads it.

    Args:
        trace: in torch's core operators.
        constants: inputs that are part of the program, as weights are that nothing writes to.
    """
    module = _Lowered(trace, set(constants)).module()
    write_back_early(module)
    specs = _alive(module.graph)
    return _place([spec for spec in specs if spec.mem_id == ARENA]), module


class _Lowered:
    """The trace as ExecuTorch has it before it plans."""

    def __init__(self, trace: Traced, constants: set[str]) -> None:
        self.graph, self.made = Graph(), dict[Node, Node]()
        self.numbers: dict[Node, list[Node]] = {}
        self.returned = {node for name, node in trace.results.items() if not name.endswith(NEXT)}
        state = {name.removesuffix(NEXT) for name in trace.outputs if name.endswith(NEXT)}
        given = trace.placeholders
        for name, node in given.items():
            spec = Spec(_bytes(node.meta["val"]), STATE if name in state else ARENA)
            spec.mem_id = None if name in constants else spec.mem_id
            if name == INPUT:
                self._numbers(trace)
            self.made[node] = self._given(name.replace(".", "_"), spec)
        for node in trace.graph.nodes:
            if node.op == "call_function":
                self._call(node)
        results, specs = [], []
        for name, node in trace.results.items():
            value = self.made[node]
            specs.append(value.meta["spec"])
            if name.endswith(NEXT):
                kept = self.made[given[name.removesuffix(NEXT)]]
                value = self._node(aten.copy_.default, "copy_", kept.meta["spec"], (kept, value))
                specs[-1] = Spec(kept.meta["spec"].allocated_memory)
            results.append(value)
        self.graph.output(tuple(results)).meta["spec"] = specs

    def _numbers(self, trace: Traced) -> None:
        for node in trace.graph.nodes:
            if node.op == "call_function":
                self.numbers[node] = [
                    self._given("number", Spec(ALIGNMENT, None)) for _ in _numbers(node)
                ]

    def module(self) -> GraphModule:
        """Of its graph."""
        return GraphModule(torch.nn.Module(), self.graph)

    def _given(self, name: str, spec: Spec) -> Node:
        node = self.graph.create_node("placeholder", name, name=name)
        node.target = node.name  # which is the only one of its name
        node.meta["spec"] = spec
        return node

    def _node(self, target: Any, name: str, spec: Any, args: tuple[Any, ...] = ()) -> Node:
        node = self.graph.create_node("call_function", target, args, name=name)
        node.meta["spec"] = spec
        return node

    def _call(self, node: Node) -> None:
        value, name = node.meta["val"], _name(node.target)
        if node.target is operator.getitem:
            parent, i = self.made[node.all_input_nodes[0]], node.args[1]
            self.made[node] = self._node(node.target, name, parent.meta["spec"][i], (parent, i))
        elif node.target in VIEWS and node not in self.returned:
            base = self.made[_base(node)]
            if any(user.target not in VIEWS or user in self.returned for user in node.users):
                self.made[node] = self._node(view, name, base.meta["spec"], (base,))
        else:
            read = [self.made[_base(one) if node.target in VIEWS else one]
                    for one in node.all_input_nodes]  # fmt: skip
            read += map(self._number, _numbers(node), self.numbers[node])
            self.made[node] = self._out(node.target, name, value, _wanted(node), read)

    def _number(self, value: float, given: Node) -> Node:
        """As it is read: in float32."""
        scalar = torch.empty((), device="meta")
        return (
            given if isinstance(value, float) else self._out(cast, "cast", scalar, [True], [given])
        )

    def _out(
        self, target: Any, name: str, value: Any, wanted: Sequence[bool], read: list[Node]
    ) -> Node:
        """An operator, behind the allocations of what it makes."""
        values = value if isinstance(value, tuple | list) else [value]
        specs = [Spec(_bytes(one)) if one is not None and keep else None
                 for one, keep in zip(values, wanted, strict=False)]  # fmt: skip
        read = read + [self._node(alloc, "alloc", spec) for spec in specs if spec]
        return self._node(target, name, specs if isinstance(value, tuple | list) else specs[0],
                          tuple(read))  # fmt: skip


def alloc() -> None:
    """Stands for an allocation."""


def view() -> None:
    """Stands for a view."""


def cast() -> None:
    """Stands for a change of type."""


def _wanted(node: Node) -> Sequence[bool]:
    if node.target is aten.convolution_backward.default:
        mask: Any = node.args[-1]
        return mask
    return [True] * 8


def _base(node: Node) -> Node:
    """What a view is first made from."""
    while node.target in VIEWS:
        node = node.all_input_nodes[0]
    return node


def _numbers(node: Node) -> Iterator[float]:
    """Those that stand in a tensor's place."""
    types = node.target._schema.arguments if hasattr(node.target, "_schema") else []
    for argument, declared in zip(node.args, types, strict=False):
        if isinstance(argument, int | float) and isinstance(declared.type, torch.TensorType):
            yield argument


def _bytes(value: Tensor) -> int:
    size = value.numel() * value.element_size()
    return -(-size // ALIGNMENT) * ALIGNMENT


def _name(target: Any) -> str:
    """As ExecuTorch calls a node: aten.sum.dim_IntList is aten_sum_dim_int_list."""
    if not hasattr(target, "_schema"):
        return str(target.__name__)
    space, name, overload = str(target).split(".")
    name += "_copy" * hasattr(aten, f"{name}_copy")
    overload = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", overload).lower()
    return f"{space}_{name}_{overload}"


def _alive(graph: Graph) -> list[Spec]:
    """Every tensor with the places of its first and last mention."""
    found: dict[Spec, None] = {}
    for i, node in enumerate(graph.nodes):
        for one in (node, *node.all_input_nodes):
            specs = one.meta.get("spec")
            for spec in specs if isinstance(specs, list) else [specs]:
                if spec is not None:
                    spec.lifetime = [min([i, *spec.lifetime]), i]
                    found[spec] = None
        if node.op == "placeholder":
            node.meta["spec"].lifetime[0] = 0
    return list(found)


@dataclass
class _Stretch:
    """Bytes of the arena that tensors of other times share."""

    bytes: int
    tensors: list[tuple[int, Spec]]

    def free_from(self, spec: Spec) -> int:
        """The offset behind all that lives at the same time."""
        begin, end = spec.lifetime
        return max(
            (offset + other.allocated_memory for offset, other in self.tensors
             if begin <= other.lifetime[1] and other.lifetime[0] <= end),
            default=0,
        )  # fmt: skip


def _place(specs: list[Spec]) -> int:
    """Give every tensor an offset; the bytes of all.

    Largest first, of equals the last first: into the first stretch where nothing lives at the same
    time, else into the first with room behind what does, else into a stretch of its own.
    """
    stretches: list[_Stretch] = []
    for spec in sorted(specs, key=lambda spec: spec.allocated_memory)[::-1]:
        size = spec.allocated_memory
        offsets = [stretch.free_from(spec) for stretch in stretches]
        free = [i for i, offset in enumerate(offsets) if not offset]
        room = [i for i, offset in enumerate(offsets) if offset + size <= stretches[i].bytes]
        if not free and not room:
            room, offsets = [len(stretches)], [*offsets, 0]
            stretches.append(_Stretch(size, []))
        chosen = (free or room)[0]
        stretches[chosen].tensors.append((offsets[chosen], spec))
    begin = 0
    for stretch in stretches:
        for offset, spec in stretch.tensors:
            spec.mem_offset = begin + offset
        begin += stretch.bytes
    return begin
