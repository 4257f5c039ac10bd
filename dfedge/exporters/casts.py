"""Conversions that ExecuTorch does slowly or in wide types, said in a way that it does better.

Between int8 and int32 its portable kernels take about 9 ns a value, by way of float32 less than 4
for both; from bool they take 8 ns, while clamping an int8 takes a quarter of one.  A sum adds int8
up as int32 by itself, so no int32 copy of a map need exist.  A Python number beside a single int32
becomes an int64 there, and so does every tensor that later meets it: an int32 of its own does not.
All values are within 2^24 where they pass through float32: one side of each conversion is an int8.
"""

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

aten = torch.ops.aten

WITH_NUMBER: dict[Any, Any] = {
    aten.add.Tensor: aten.add.Tensor,
    aten.sub.Tensor: aten.sub.Tensor,
    aten.mul.Tensor: aten.mul.Tensor,
    aten.rsub.Scalar: aten.sub.Tensor,
    aten.__and__.Scalar: aten.bitwise_and.Tensor,
}
"""Operators that take a tensor and a number -> the same with two tensors."""

SLOW = {(torch.int8, torch.int32), (torch.int32, torch.int8)}


def cast_fast(program: ExportedProgram) -> ExportedProgram:
    """Say slow conversions as two, ``int32(x > 0)`` as a clamp, and lone numbers as int32."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target in WITH_NUMBER and _single(node):
            _number_as_tensor(graph, node)
        if node.target is not aten._to_copy.default:
            continue
        (given,) = node.all_input_nodes
        for user in list(node.users):
            if _sums(user) and given.meta["val"].dtype == torch.int8:
                user.replace_input_with(node, given)
        if not node.users:
            continue
        with graph.inserting_before(node):
            if given.target is aten.gt.Scalar and given.args[1] == 0 and _integer(given):
                given = _call(graph, aten.clamp.default, given.args[0], 0, 1)
            kinds = given.meta["val"].dtype, node.meta["val"].dtype
            if kinds in SLOW:
                given = _call(graph, aten._to_copy.default, given, dtype=torch.float32)
        node.replace_input_with(node.all_input_nodes[0], given)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def _single(node: Node) -> bool:
    value = node.meta["val"]
    return value.dtype == torch.int32 and value.dim() == 0 and isinstance(node.args[1], int)


def _number_as_tensor(graph: Graph, node: Node) -> None:
    (given,), number = node.all_input_nodes, node.args[1]
    with graph.inserting_before(node):
        single = graph.call_function(aten.full.default, ([], number), {"dtype": torch.int32})
        single.meta["val"] = given.meta["val"].new_empty((), dtype=torch.int32)
        both = (single, given) if node.target is aten.rsub.Scalar else (given, single)
        result = graph.call_function(WITH_NUMBER[node.target], both)
    result.meta = dict(node.meta)
    node.replace_all_uses_with(result)


def _sums(user: Node) -> bool:
    return user.target is aten.sum.dim_IntList and user.kwargs.get("dtype") == torch.int32


def _integer(comparison: Node) -> bool:
    dtype = comparison.all_input_nodes[0].meta["val"].dtype
    return not dtype.is_floating_point


def _call(graph: Graph, target: Any, x: Any, *args: int, **kwargs: Any) -> Node:
    """A node whose value has the type that the operator would give."""
    node = graph.call_function(target, (x, *args), kwargs)
    node.meta["val"] = target(x.meta["val"], *args, **kwargs)
    return node
