"""Normalisation, activations and constants folded into the operations before them, scales and
padding into the convolutions after them, and parallel convolutions into one; and scores that a
linear layer gives.
"""

import math
from dataclasses import replace
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor

from dfedge.adoption.functions import absorbed, join_functions
from dfedge.adoption.graph import EVERYTHING, ForeignGraph, ForeignNode, dense, steps
from dfedge.adoption.windows import counted

ALIKE = 2.0
"""So much may the scales of channels differ that weights take in."""


def fold(graph: ForeignGraph) -> ForeignGraph:
    """The same function in fewer operations; a normalisation that stands alone becomes a conv."""
    nodes = graph.nodes
    join_functions(nodes)
    nodes = _kept(nodes)
    into: dict[int, int] = {}
    for i, node in enumerate(nodes):
        node.reads = tuple(into.get(read, read) for read in node.reads)
        if node.op == "conv":
            _taken_in(nodes, node)
        if node.op in ("mean", "max"):
            _without_order(nodes, node)
        if node.op == "add" and all(_readers(nodes, into, read) == 1 for read in node.reads):
            _summed(nodes, node)
        if node.op not in ("affine", "clip", "function"):
            continue
        (read,) = node.reads
        before = nodes[read]
        alone = _readers(nodes, into, read) == 1
        if alone and (absorbed(before, node) or _joined(before, node)):
            into[i] = read
        elif node.op == "affine":
            _as_conv(node)
    last = into.get(len(nodes) - 1, len(nodes) - 1)
    nodes = _kept(nodes[: last + 1])
    _averaged_first(nodes)
    if not gives_scores(nodes[-1]):
        _handed_on(nodes)
    return replace(graph, nodes=nodes)


def _without_order(nodes: list[ForeignNode], node: ForeignNode) -> None:
    """What is taken over a whole map does not see in which order its rows and columns are."""
    before = nodes[node.reads[0]]
    if before.op != "gather" or node.kernel != before.shape[1:] or node.shape[1:] != (1, 1):
        return
    _, height, width = nodes[before.reads[0]].shape
    each_once = [sorted(before.rows), sorted(before.columns)]
    if each_once == [list(range(height)), list(range(width))]:
        node.reads = before.reads


def gives_scores(node: ForeignNode) -> bool:
    """Whether it is a linear layer with nothing after it."""
    return node.op == "conv" and node.bounds[0] == -math.inf and node.shape[1:] == (1, 1)


def _averaged_first(nodes: list[ForeignNode]) -> None:
    """Let a net that ends in the mean of a 1 x 1 convolution average before it: it is the same."""
    mean = nodes[-1]
    if mean.op != "mean":
        return
    conv = nodes[mean.reads[0]]
    if mean.kernel != conv.shape[1:] or any(mean.pads):
        return
    plain = (conv.op, conv.kernel, conv.stride, conv.bounds) == ("conv", (1, 1), 1, EVERYTHING)
    readers = sum(mean.reads[0] in node.reads for node in nodes)
    if plain and readers == 1 and not any(conv.pads):
        channels = nodes[conv.reads[0]].shape[0]
        before = replace(mean, reads=conv.reads, shape=(channels, 1, 1))
        after = replace(conv, reads=mean.reads, shape=mean.shape)
        nodes[mean.reads[0]], nodes[-1] = before, after


def _handed_on(nodes: list[ForeignNode]) -> None:
    """Put a linear layer behind scores that none gives: each is itself."""
    last, count = nodes[-1], nodes[-1].shape[0]
    if last.shape[1:] == (1, 1):
        weight = torch.eye(count)[:, :, None, None]
        nodes.append(
            ForeignNode(
                "conv",
                last.name,
                (len(nodes) - 1,),
                last.shape,
                weight,
                torch.zeros(count),
                where=last.where,
            )
        )


def _readers(nodes: list[ForeignNode], into: dict[int, int], number: int) -> int:
    """How many operations read a result, itself or folded into it."""
    others = [node for i, node in enumerate(nodes) if i not in into]
    return sum(into.get(read, read) == number for node in others for read in node.reads)


def _joined(before: ForeignNode, node: ForeignNode) -> bool:
    """Put an affine or a clip into the operation before it, where that can hold it."""
    if before.bounds != EVERYTHING or node.op == "function":
        return False
    if before.op == "conv" and node.op == "affine":
        before.weight = before.weight * node.weight[:, None, None, None]
        before.bias = before.bias * node.weight + node.bias
        return True
    if before.op == "conv":
        before.weight = before.weight * node.slope
        before.bias = before.bias * node.slope + node.lift
        before.bounds = node.bounds
        return True
    if node.op == "clip" and (node.slope, node.lift) == (1, 0) and before.op in ("add", "mul"):
        before.bounds = node.bounds
        return True
    return False


def _taken_in(nodes: list[ForeignNode], node: ForeignNode) -> None:
    """Let a convolution scale and pad what it sees itself: zeros stay zeros.

    What is shifted is taken in where nothing is padded.  Channels whose scales differ much are left
    as they are, for the weights of an output have one scale; those of a sample are not, for they
    were chosen to fill a code's range.
    """
    before = nodes[node.reads[0]]
    hands_on = before.op == "conv" and before.groups == before.shape[0] and before.stride == 1
    if not hands_on or before.kernel != (1, 1) or before.bounds != EVERYTHING:
        return
    scale = before.weight.flatten()
    shifted = bool(before.bias.any())
    if shifted and any((*before.pads, *node.pads)):
        return
    own = nodes[before.reads[0]].op == "input"
    if not own and not 0 < float(scale.max()) <= ALIKE * float(scale.min()):
        return
    top, bottom, left, right = before.pads
    above, below, west, east = node.pads
    node.pads = (above + top, below + bottom, west + left, east + right)
    node.reads = before.reads

    def seen(by_channel: Tensor) -> Tensor:
        """[C] -> [O, C / groups]: of the channels that each output reads."""
        return by_channel.reshape(node.groups, -1).repeat_interleave(
            node.shape[0] // node.groups, 0
        )

    node.bias = node.bias + (node.weight.sum((2, 3)) * seen(before.bias)).sum(1)
    node.weight = node.weight * seen(scale)[:, :, None, None]


def _summed(nodes: list[ForeignNode], node: ForeignNode) -> None:
    """Make a sum of two convolutions of one map a convolution (RepVGG's and MobileOne's branches).

    Both must be read by the sum alone.  Nothing is done where that would take more weights.
    """
    both = [nodes[read] for read in node.reads]
    a, b = both
    alike = (a.op, a.reads, a.stride, a.bounds) == (b.op, b.reads, b.stride, b.bounds)
    if not alike or a.op != "conv" or a.bounds != EVERYTHING:
        return
    groups = gcd(a.groups, b.groups)
    top, bottom, left, right = (max(p.pads[i] for p in both) for i in range(4))
    kh, kw = (max(p.kernel[i] - p.pads[2 * i] for p in both) + (top, left)[i] for i in (0, 1))
    _, height, width = nodes[a.reads[0]].shape
    windows = counted((height, width), (kh, kw), steps(a.stride), (top, bottom, left, right))
    weights = node.shape[0] * (nodes[a.reads[0]].shape[0] // groups) * kh * kw
    if windows != node.shape[1:] or weights > a.weight.numel() + b.weight.numel():
        return

    def wide(conv: ForeignNode) -> Tensor:
        """Its weight over the groups and the kernel of both."""
        parts = conv.weight.chunk(groups)
        whole = torch.cat([dense(part, conv.groups // groups) for part in parts])
        above, before = top - conv.pads[0], left - conv.pads[2]
        after, below = kw - before - conv.kernel[1], kh - above - conv.kernel[0]
        return F.pad(whole, (before, after, above, below))

    node.op, node.reads, node.groups, node.stride = "conv", a.reads, groups, a.stride
    node.kernel, node.pads = (kh, kw), (top, bottom, left, right)
    node.weight, node.bias = wide(a) + wide(b), a.bias + b.bias


def _as_conv(node: ForeignNode) -> None:
    """A number for each channel, as a depthwise 1 x 1 convolution."""
    channels = node.shape[0]
    node.op, node.groups = "conv", channels
    node.weight = node.weight.reshape(channels, 1, 1, 1).clone()
    node.bias = node.bias.clone()


def _kept(nodes: list[ForeignNode]) -> list[ForeignNode]:
    """Without what nobody reads, numbers closed up."""
    wanted = {0, len(nodes) - 1}
    for i in reversed(range(len(nodes))):
        if i in wanted:
            wanted |= set(nodes[i].reads)
    order = sorted(wanted)
    place = {old: new for new, old in enumerate(order)}
    for i in order:
        nodes[i].reads = tuple(place[read] for read in nodes[i].reads)
    return [nodes[i] for i in order]
