"""``--learn heads:NAME,NAME``: what several layers of a net see, side by side under its scores.

Anchors over vectors that lie side by side measure the sum of the distances in each, so one head
over all of them is the sum of a head at every tap.  The net's own features are always among them;
its scores start as they were: to what is new its linear layer gives no weight yet.
"""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from dfedge.adoption.blocks import tail_of
from dfedge.adoption.graph import ForeignGraph, ForeignNode, average
from dfedge.adoption.observe import results
from dfedge.errors import UsageError, unknown_name


def with_taps(graph: ForeignGraph, names: list[str], x: Tensor) -> ForeignGraph:
    """The same net, its last layer over the means of the named layers' maps as well.

    Args:
        names: modules; the last result of each is meant.
        x: float [N, C, H, W], samples: every tap is brought to the size of the net's features.

    Raises:
        UsageError: a name that is not in the graph, twice, or of what the scores see in any case.
    """
    tail = tail_of(graph)
    wanted = [_number(graph, name, tail.map) for name in names]
    for i, (name, number) in enumerate(zip(names, wanted, strict=True)):
        if number == tail.map or number in wanted[:i]:
            why = "is what the scores see" if number == tail.map else "is there twice"
            raise UsageError(f"--learn heads: '{name}' {why}; name each other layer once")
    nodes, last = graph.nodes[: tail.scores], graph.nodes[tail.scores]
    seen = results(graph, {*wanted, tail.features}, x)
    size = {i: float(value.amax()) for i, value in seen.items()}
    parts = []
    for name, number in zip(names, wanted, strict=True):
        mean = average(number, nodes[number], name)
        nodes.append(mean)
        slope = size[tail.features] / max(size[number], 1e-6)
        nodes.append(ForeignNode("clip", name, (len(nodes) - 1,), mean.shape, slope=slope))
        parts.append(len(nodes) - 1)
    own = nodes[tail.features].shape[0]
    channels = own + sum(nodes[part].shape[0] for part in parts)
    nodes.append(ForeignNode("concat", "heads", (tail.features, *parts), (channels, 1, 1)))
    weight = torch.zeros(len(last.weight), channels, 1, 1)
    weight[:, :own] = last.weight
    nodes.append(replace(last, reads=(len(nodes) - 1,), weight=weight, kernel=(1, 1)))
    return replace(graph, nodes=nodes)


def _number(graph: ForeignGraph, name: str, last: int) -> int:
    inside = [i for i, node in enumerate(graph.nodes[1 : last + 1], 1) if _within(node.name, name)]
    if not inside:
        raise unknown_name("--learn heads: layer", name, _modules(graph.nodes[1 : last + 1]))
    return inside[-1]


def _within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _modules(nodes: Iterable[ForeignNode]) -> list[str]:
    return list(dict.fromkeys(node.name for node in nodes))
