"""Goodness as a distance to label anchors, and the hinge on it: the mathematics of the rule.

Each layer pools its output to p [B, d] and owns one anchor a class, A [K, d].  Its distance to
class k is ``d_k = |p - A_k|^2 / d`` (arXiv 2408.14925: the goodness of an input joined with a label
is the squared distance between the projected input and the projected label).  Distance sign: the
right label's distance is to be LOW.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def pool_cells(h: Tensor, cells: int) -> Tensor:
    """What the anchors see: [B, C, H, W] -> [B, cells*cells*C], the mean over equal cells.

    A cell is ceil(H/cells) x ceil(W/cells), zeros outside the image, as in the integer step.  The
    flattened order is cell row, cell column, channel.
    """
    height, width = (-(-n // cells) for n in h.shape[2:])
    padded = F.pad(h, (0, width * cells - h.shape[3], 0, height * cells - h.shape[2]))
    p = F.avg_pool2d(padded, (height, width))
    return p.permute(0, 2, 3, 1).flatten(1)


def distances(p: Tensor, anchors: Tensor) -> Tensor:
    """Mean squared distance to every anchor: [B, d], [K, d] -> [B, K]."""
    cross = p @ anchors.T
    return (p.square().mean(1, keepdim=True) - 2 * cross / p.shape[1]) + anchors.square().mean(1)


def hardest_wrong(distance: Tensor, y: Tensor) -> Tensor:
    """The nearest wrong anchor of each sample, k* int64 [B]; the first among equals."""
    return distance.scatter(1, y[:, None], torch.inf).argmin(1)


def margin_loss(
    distance: Tensor, anchors: Tensor, y: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Mean of ``max(m D + d_y - d_k*, 0)`` over the batch, and the fraction of active samples.

    The margin is relative to the separation ``D = |A_y - A_k*|^2 / d``, detached: it asks for the
    same clearance whatever the scale of a layer, and adds no gradient.  So the derivative by p is
    ``a (2/d)(A_k* - A_y)``, a difference of two anchors, which int8 holds.
    """
    k = hardest_wrong(distance.detach(), y)
    separation = (anchors[y] - anchors[k]).detach().square().mean(1)
    gap = distance.gather(1, y[:, None]) - distance.gather(1, k[:, None])
    violation = margin * separation + gap[:, 0]
    return violation.relu().mean(), (violation.detach() > 0).float().mean()
