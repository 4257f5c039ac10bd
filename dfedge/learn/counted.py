"""Which layers' goodness counts at inference, chosen on held-out training samples."""

import torch

from dfedge.learn.net import Net
from dfedge.learn.samples import Samples, batches


def candidates(layers: int) -> list[tuple[int, ...]]:
    """All layers, every range up to the last, and each layer alone."""
    ranges = [tuple(range(first, layers)) for first in range(layers)]
    return ranges + [(one,) for one in range(layers - 1)]


@torch.no_grad()
def choose_layers(net: Net, held_out: Samples) -> tuple[tuple[int, ...], float]:
    """The candidate with the best accuracy and that accuracy; among equals the first candidate."""
    net.eval()
    costs = torch.cat([net.layer_costs(x) for x, _ in batches(held_out)], 1)
    found = []
    for counted in candidates(len(net.units)):
        right = costs[list(counted)].sum(0).argmin(1) == held_out.y
        found.append((float(right.float().mean()), counted))
    accuracy, counted = max(found, key=lambda pair: pair[0])
    return counted, accuracy
