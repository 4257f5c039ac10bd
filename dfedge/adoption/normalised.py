"""The normalisation of images that a net was trained behind, as its first operation."""

import torch

from dfedge.adoption.graph import Graph, Node
from dfedge.errors import UsageError


def normalised(graph: Graph, mean: tuple[float, ...], std: tuple[float, ...]) -> Graph:
    """``(x - mean) / std`` before everything else, x being 0..1; nothing where neither is given.

    Raises:
        UsageError: not one number for each channel, or a standard deviation of zero.
    """
    if not mean and not std:
        return graph
    channels = graph.nodes[0].shape[0]
    mean, std = mean or (0.0,) * channels, std or (1.0,) * channels
    if len(mean) != channels or len(std) != channels or min(std) <= 0:
        raise UsageError(
            f"--mean {list(mean)} --std {list(std)}: allowed: {channels} numbers each, std above 0"
        )
    weight = 1 / torch.tensor(std)
    node = Node("affine", "normalise", (0,), graph.nodes[0].shape, weight,
                -torch.tensor(mean) * weight)  # fmt: skip
    for other in graph.nodes:
        other.reads = tuple(read + 1 for read in other.reads)
    return Graph([graph.nodes[0], node, *graph.nodes[1:]])
