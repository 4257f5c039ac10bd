"""What a net was trained behind, as its first operation: normalisation, and the channels' order."""

from dataclasses import replace

import torch

from dfedge.adoption.graph import Graph, Node
from dfedge.errors import UsageError, chosen

ORDERS = ("rgb", "bgr")


def normalised(
    graph: Graph, mean: tuple[float, ...], std: tuple[float, ...], order: str = "rgb"
) -> Graph:
    """``(x - mean) / std`` before everything else; nothing where neither is given.

    Args:
        mean, std: one number a channel, in the net's own order.  They are of pixels in 0..255 where
            one of them is above 1, else in 0..1.
        order: one of `ORDERS`: of the channels that the net was trained on.

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
    largest = 255.0 if max(*mean, *std) > 1 else 1.0
    weight = largest / torch.tensor(std)
    bias = -torch.tensor(mean) / torch.tensor(std)
    shape = graph.nodes[0].shape
    node = Node("affine", "normalise", (0,), shape, weight, bias)
    if order == "bgr":
        node = Node("conv", "normalise", (0,), shape, torch.diag(weight).flip(1)[:, :, None, None],
                    bias)  # fmt: skip
    for other in graph.nodes:
        other.reads = tuple(read + 1 for read in other.reads)
    return replace(graph, nodes=[graph.nodes[0], node, *graph.nodes[1:]])
