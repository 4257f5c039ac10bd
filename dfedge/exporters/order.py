"""Rewritings of a program's graph that change when its tensors live, and no bit of them."""

from collections.abc import Iterator

import torch
from torch.fx import GraphModule, Node

from dfedge.exporters.traced import Traced
from dfedge.int8.ops import pooled  # noqa: F401  registers what stands for the pair

ops = torch.ops.dfedge


def pool_errors(trace: Traced) -> Traced:
    """Hand pooled errors to the updates that would read them spread over a whole map."""
    trace = trace.copy()
    graph = trace.graph
    for node in list(graph.nodes):
        if node.target is not ops.conv_update.default:
            continue
        x, error, *rest = node.args
        if error.target is ops.spread.default:
            with graph.inserting_before(node):
                target = ops.conv_update_pooled.default
                fused = graph.call_function(target, (x, *error.args, *rest))
            fused.meta = dict(node.meta)
            node.replace_all_uses_with(fused)
            graph.erase_node(node)
    graph.eliminate_dead_code()
    trace.module.recompile()
    return trace


def write_back_early(module: GraphModule) -> None:
    """Move every copy into the state up, right behind the last reader of what it overwrites.

    ExecuTorch puts them at the end, where all new weights would be alive together.
    """
    graph = module.graph
    place = {node: i for i, node in enumerate(graph.nodes)}
    for node in [n for n in graph.nodes if n.target is torch.ops.aten.copy_.default]:
        state, value = node.args
        readers = [reader for reader in _readers(state) if reader is not node]
        last = max([*readers, value], key=place.__getitem__)
        last.append(node)
    module.recompile()


def _readers(node: Node) -> Iterator[Node]:
    """Who reads a tensor, also by another name for the same bytes."""
    for user in node.users:
        if user.op == "output":
            continue
        yield user
        if getattr(user.target, "__name__", "") == "view":
            yield from _readers(user)
