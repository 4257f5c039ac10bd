"""What a net was trained behind, as its first operations: units, normalisation, channels' order."""

from dataclasses import replace

import torch
from torch import Tensor

from dfedge.adoption.graph import ForeignGraph, ForeignNode, Op
from dfedge.data.inputs import Units
from dfedge.errors import UsageError, chosen
from dfedge.int8.scales import INPUT_EXPONENT

ORDERS = ("rgb", "bgr")
Line = tuple[float, float]
"""Factor and lift."""
HALF = 0.5
"""Of a code, that a program is fed half of: what is lost on average."""


def in_units(graph: ForeignGraph, units: Units, line: Line) -> ForeignGraph:
    """A net that is fed samples in their own units, as one that is fed half codes.

    Args:
        line: what the net itself does first, which is then undone.
    """
    low, step = (torch.from_numpy(one).float() for one in units)
    factor, lift = line
    weight, bias = step * 2 ** (INPUT_EXPONENT + 1), low + HALF * step
    return _behind(graph, "affine", "units", weight / factor, (bias - lift) / factor)


def normalised(
    graph: ForeignGraph, mean: tuple[float, ...], std: tuple[float, ...], order: str = "rgb",
    largest: float = 0,
) -> ForeignGraph:  # fmt: skip
    """``(x - mean) / std`` before everything else; nothing where neither is given.

    Args:
        mean, std: one number a channel, in the net's own order.
        order: one of `ORDERS`: of the channels that the net was trained on.
        largest: of a value, in units of mean and std; 0: they are of pixels in 0..255 where one of
            them is above 1, else in 0..1.

    Raises:
        UsageError: not one number for each channel, a standard deviation of zero, or another order.
    """
    order = chosen("--channels", order, ORDERS)
    channels = graph.nodes[0].shape[0]
    if order == "bgr" and channels != 3:
        raise UsageError(f"--channels bgr: the net takes images of {channels} channels, not of 3")
    if not mean and not std and order == "rgb":
        return graph
    mean, std = mean or (0.0,) * channels, std or (1.0,) * channels
    if len(mean) != channels or len(std) != channels or min(std) <= 0:
        raise UsageError(
            f"--mean {list(mean)} --std {list(std)}: allowed: {channels} numbers each, std above 0"
        )
    largest = largest or (255.0 if max(*mean, *std) > 1 else 1.0)
    weight = largest / torch.tensor(std)
    bias = -torch.tensor(mean) / torch.tensor(std)
    if order == "bgr":
        weight = torch.diag(weight).flip(1)[:, :, None, None]
    return _behind(graph, "conv" if order == "bgr" else "affine", "normalise", weight, bias)


def _behind(graph: ForeignGraph, op: Op, name: str, weight: Tensor, bias: Tensor) -> ForeignGraph:
    """A net behind one operation more."""
    for other in graph.nodes:
        other.reads = tuple(read + 1 for read in other.reads)
    node = ForeignNode(op, name, (0,), graph.nodes[0].shape, weight, bias)
    return replace(graph, nodes=[graph.nodes[0], node, *graph.nodes[1:]])
