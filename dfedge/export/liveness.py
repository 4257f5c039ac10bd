"""A memory plan for an ONNX graph: who is alive when, and what that sums to at its worst moment.

ONNX files carry no plan and onnxruntime's allocator keeps its own; this is the figure for the
graph's own order with perfect placement.  Operators that only rename bytes share their input's.
"""

import math
from collections.abc import Iterator

import onnx
from onnx import helper, shape_inference

from dfedge.bundle import MemoryPlan

ALIASES = {"Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten"}


def plan_memory(model: onnx.ModelProto, state: set[str]) -> MemoryPlan:
    """Peak bytes of live tensors, and bytes of the state that goes in; new state counts as live."""
    graph = shape_inference.infer_shapes(model).graph
    sizes = dict(_sizes(graph))
    constants = {tensor.name for tensor in graph.initializer}
    owner: dict[str, str] = {}
    for node in graph.node:
        if node.op_type in ALIASES and node.input[0] not in constants | state:
            owner[node.output[0]] = owner.get(node.input[0], node.input[0])
    last: dict[str, int] = {value.name: -1 for value in graph.input}
    for i, node in enumerate(graph.node):
        for name in [*node.input, *node.output]:
            last[owner.get(name, name)] = i
    for value in graph.output:
        last[owner.get(value.name, value.name)] = len(graph.node)
    alive = {v.name for v in graph.input if v.name not in state}
    total = peak = sum(sizes[name] for name in alive)
    for i, node in enumerate(graph.node):
        born = {n for n in node.output if n and n not in owner and n not in constants} - alive
        total += sum(sizes[name] for name in born)
        alive |= born
        peak = max(peak, total)
        dead = {name for name in alive if last[name] <= i}
        total -= sum(sizes[name] for name in dead)
        alive -= dead
    return MemoryPlan(peak, sum(sizes[v.name] for v in graph.input if v.name in state))


def _sizes(graph: onnx.GraphProto) -> Iterator[tuple[str, int]]:
    for value in [*graph.input, *graph.value_info, *graph.output]:
        kind = value.type.tensor_type
        width = helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        yield value.name, width * math.prod(d.dim_value for d in kind.shape.dim)
