"""Conversions that ExecuTorch does slowly or in wide types, said in a way that it does better.

Between int8 and int32 its portable kernels take about 9 ns a value, by way of float32 less than 4
for both; from bool they take 8 ns, while clamping an int8 takes a quarter of one.  A sum adds int8
up as int32 by itself, so no int32 copy of a map need exist.  All values are within 2^24 where they
pass through float32: one side of each conversion is an int8.
"""

from typing import Any

import torch
from torch.fx import Graph, Node

aten = torch.ops.aten

SLOW = {(torch.int8, torch.int32), (torch.int32, torch.int8)}


def cast_fast(graph: Graph) -> None:
    """Say slow conversions as two, ``int32(x > 0)`` as a clamp."""
    for node in list(graph.nodes):
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
