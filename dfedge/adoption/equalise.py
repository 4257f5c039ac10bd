"""Channels of one result brought near one size, and the operations that read it told so.

A result has one scale for all of its channels, so a channel that is small beside another keeps few
of the 127 levels.  A net computes the same when a channel is multiplied by a number above zero and
everything that reads it divides by it: a convolution does so in its weights.  Where a channel is
passed on as it is (a sum, a mean, a maximum, a product, channels side by side), those before and
after are multiplied alike.  What goes into a function of one value, or comes out of it, stays
where one table serves all channels (`dfedge.adoption.tables`).
"""

from collections.abc import Container, Sequence

import torch
from torch import Tensor

from dfedge.adoption.graph import EVERYTHING, ForeignGraph, ForeignNode
from dfedge.adoption.observe import Observed
from dfedge.adoption.tables import FIXED, LEAST, Tables, of_one_value, passes, told_apart
from dfedge.learn.recipe import Recipe

ROOM = 16
"""The largest weight between two results of one scale: an eighth of what int8 holds, so that it
keeps three bits behind the point.  A channel that is small because its ReLU hardly opens, or never
does, asks for more."""
BIAS_ROOM = 256
"""The same of a bias, in the size of the result."""
KEPT = 2
"""How many times as large as the middle channel a channel may stay, as its root: where training
let a channel grow a little, it says more.  EfficientNet-Lite0's lowest signal to noise is two
decibels better than with channels all alike, and it costs an outlier's fellows one bit at most."""
SWEEPS = 3
"""Over the weights, which change with what they read."""


def equalise(graph: ForeignGraph, observed: list[Observed], until: int, recipe: Recipe) -> None:
    """Multiply channels up to an operation, in place; of what was observed too.

    Bounds above zero become one a channel (`Node.ceiling`), and functions too (`Node.entry`).
    """
    tried = {i for i, node in enumerate(graph.nodes[: until + 1]) if of_one_value(node)}
    apart = _apart(graph, observed, tried)
    groups = _groups(graph, until, tried)
    gains = _gains(graph, groups, apart)
    free = Tables(graph, recipe, observed, apart, groups, gains).paying(tried)
    observed[:] = _apart(graph, observed, free)
    groups = _groups(graph, until, free)
    gains = _gains(graph, groups, observed)
    for i in free:
        node, (read,) = graph.nodes[i], graph.nodes[i].reads
        if i in gains or read in gains:
            ones = torch.ones(node.shape[0])
            node.entry, node.exit = gains.get(read, ones), gains.get(i, ones)
    for i, node in enumerate(graph.nodes):
        if node.op == "conv" and node.reads[0] in gains:
            node.weight = _divided(node, gains[node.reads[0]])
        if i in gains:
            _multiply(node, gains[i])
            observed[i] = observed[i].scaled(gains[i])


def _apart(graph: ForeignGraph, observed: Sequence[Observed], free: set[int]) -> list[Observed]:
    """What was observed; of what such a function alone reads, as far as it tells it apart."""
    found = list(observed)
    for i in free:
        (read,) = graph.nodes[i].reads
        if graph.readers(read) == [i]:
            found[read] = told_apart(observed[read], graph.nodes[i])
    return found


class _Ties:
    """Which channels are multiplied alike: a forest, its roots the smallest of a group."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def root(self, one: int) -> int:
        while self.parent[one] != one:
            self.parent[one] = one = self.parent[self.parent[one]]
        return one

    def tie(self, some: Sequence[int], others: Sequence[int]) -> None:
        for one, other in zip(some, others, strict=True):
            a, b = self.root(one), self.root(other)
            self.parent[max(a, b)] = min(a, b)


def _groups(graph: ForeignGraph, until: int, free: Container[int]) -> list[Tensor]:
    """For every result up to an operation int64 [C]: the number of each channel's group.

    Args:
        free: functions with a table for each channel.
    """
    nodes = graph.nodes[: until + 1]
    starts = [1]
    for node in nodes:
        starts.append(starts[-1] + node.shape[0])
    own = [range(start, start + node.shape[0]) for start, node in zip(starts, nodes, strict=False)]
    ties = _Ties(starts[-1])
    for i, node in enumerate(nodes):
        given = [own[read] for read in node.reads]
        if node.op == "concat":
            ties.tie(own[i], [one for part in given for one in part])
        elif node.op == "select":
            ties.tie(own[i], [given[0][channel] for channel in node.channels])
        elif passes(node):
            for part in given[:1] if node.op == "mul" else given:
                ties.tie(own[i], part)
            if node.op == "mul":
                ties.tie(given[1], [FIXED] * len(given[1]))
        elif node.op != "conv" and i not in free:
            for part in (own[i], *given):
                ties.tie(part, [FIXED] * len(part))
        elif node.op == "conv" and not _grows(node):
            ties.tie(own[i], [FIXED] * len(own[i]))
    for node in graph.nodes[until + 1 :]:  # a layer that learns adds what it reads as it is
        for read in node.reads:
            if read <= until and node.op != "conv":
                ties.tie(own[read], [FIXED] * len(own[read]))
    return [torch.tensor([ties.root(one) for one in part]) for part in own]


def _grows(node: ForeignNode) -> bool:
    """Whether a convolution's bounds can be multiplied: below only zero and nothing can."""
    return node.bounds[0] in (0.0, EVERYTHING[0]) and node.bounds[1] > 0


def _gains(
    graph: ForeignGraph, groups: list[Tensor], observed: Sequence[Observed]
) -> dict[int, Tensor]:
    """[C] for each result of which a channel moves: nearly as large as its middle channel (`KEPT`).

    A group of channels of several results is as large as it is in that where it is largest beside
    the others.
    """
    count = 1 + max(int(group.max()) for group in groups)
    size, most = torch.zeros(count), [_size(seen) for seen in observed]
    for group, own in zip(groups, most, strict=True):
        size.scatter_reduce_(0, group, own / _middle(own), "amax")
    size = size.clamp(LEAST, 1 / LEAST)
    wanted = size.sqrt().clamp(1 / KEPT, KEPT) / size
    wanted[FIXED] = 1.0
    gain = torch.ones(count)
    for _ in range(SWEEPS):
        cap = torch.full((count,), EVERYTHING[1])
        for i, group in enumerate(groups):
            if graph.nodes[i].op == "conv":
                cap.scatter_reduce_(0, group, _cap(graph, i, gain, groups, most), "amin")
        gain = torch.minimum(wanted, cap)
        gain[FIXED] = 1.0
    return {i: gain[group] for i, group in enumerate(groups) if bool((gain[group] != 1).any())}


def _middle(size: Tensor) -> float:
    """Of those that ever are anything."""
    some = size[size > 0]
    return float(some.median()) if len(some) else 1.0


def _size(seen: Observed) -> Tensor:
    return torch.maximum(seen.high, -seen.low).clamp(min=0)


def _cap(
    graph: ForeignGraph, i: int, gain: Tensor, groups: list[Tensor], most: list[Tensor]
) -> Tensor:
    """[O]: with how large a gain a convolution's weights and bias are still held with room."""
    node, (read,) = graph.nodes[i], graph.nodes[i].reads
    given = gain[groups[read]]
    weight = _divided(node, given).abs().flatten(1).amax(1)
    size = (most[i] * gain[groups[i]]).max()
    ratio = size / (most[read] * given).max().clamp(min=LEAST)
    by_weight = ROOM * ratio / weight.clamp(min=LEAST)
    return torch.minimum(by_weight, BIAS_ROOM * size / node.bias.abs().clamp(min=LEAST))


def _multiply(node: ForeignNode, gain: Tensor) -> None:
    """A convolution's result; whatever else is multiplied is so by what it reads."""
    if node.op != "conv":
        return
    node.weight = node.weight * gain[:, None, None, None]
    node.bias = node.bias * gain
    low, high = node.bounds
    if high < EVERYTHING[1]:
        node.bounds, node.ceiling = (low, EVERYTHING[1]), high * gain


def _divided(node: ForeignNode, gain: Tensor) -> Tensor:
    """A convolution's weight, where what it reads was multiplied."""
    each = len(gain) // node.groups
    by = gain.reshape(node.groups, 1, each).expand(-1, node.shape[0] // node.groups, -1)
    return node.weight / by.reshape(node.shape[0], each)[:, :, None, None]
