"""Conversions that ExecuTorch's kernels do slowly, said in a way that they do fast.

Between int8 and int32 its portable kernels take about 9 ns a value, by way of float32 less than 4
for both; from bool they take 8 ns, while clamping an int8 takes a quarter of one.  All values are
within 2^24 where they pass through float32: one side of each conversion is an int8.
"""

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

aten = torch.ops.aten

SLOW = {(torch.int8, torch.int32), (torch.int32, torch.int8)}


def cast_fast(program: ExportedProgram) -> ExportedProgram:
    """Rewrite ``int32(x > 0)`` as ``int32(clamp(x, 0, 1))``, and slow conversions as two."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is not aten._to_copy.default:
            continue
        (given,) = node.all_input_nodes
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


def _integer(comparison: Node) -> bool:
    dtype = comparison.all_input_nodes[0].meta["val"].dtype
    return not dtype.is_floating_point


def _call(graph: Graph, target: Any, x: Any, *args: int, **kwargs: Any) -> Node:
    """A node whose value has the type that the operator would give."""
    node = graph.call_function(target, (x, *args), kwargs)
    node.meta["val"] = target(x.meta["val"], *args, **kwargs)
    return node
