"""Goodness as the distance to anchors (one-pass form): scores, margin loss, anchors' updates."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from dfedge.int8.ops.update import scaled_round
from dfedge.int8.ops.values import ACTIVATION_MAX, DEAD_SCORE, MARGIN_UNIT


@custom_op("dfedge::anchor_scores", mutates_args=())
def anchor_scores(p: Tensor, anchors: Tensor) -> Tensor:
    """Nearness of pooled features to every anchor, ``2 p.A_k - |A_k|^2``: int32 [B, K].

    The distance ``|p - A_k|^2`` with its sign turned and ``|p|^2`` left out, which is the same
    for all classes: the largest score is the nearest anchor.
    """
    a = anchors.double()
    return (2 * (p.double() @ a.T) - (a * a).sum(1)).to(torch.int32)


@anchor_scores.register_fake
def _(p: Tensor, anchors: Tensor) -> Tensor:
    return p.new_empty((p.shape[0], anchors.shape[0]), dtype=torch.int32)


@custom_op("dfedge::contrast", mutates_args=())
def contrast(
    scores: Tensor, anchors: Tensor, y: Tensor, live: Tensor, margin: int
) -> tuple[Tensor, Tensor]:
    """The margin loss's error: coefficients int8 [B, K] and error int8 [B, d].

    With y the label and k* the nearest live wrong anchor (the first among equals), a sample is
    active when ``margin/16 |A_k* - A_y|^2 + score_k* - score_y > 0``.  An active sample has
    coefficient +1 at y, -1 at k* and error ``A_k* - A_y``; any other has zeros.  Where no other
    class is live there is nothing to push away from: zeros as well.
    """
    classes = anchors.shape[0]
    right = F.one_hot(y.long(), classes).bool()
    rivals = scores.masked_fill(right | ~live.bool(), DEAD_SCORE)
    best, index = rivals.max(1)
    wrong = F.one_hot(index, classes).bool()
    apart = wrong.int() - right.int()
    error = (apart.double() @ anchors.double()).to(torch.int32)
    violation = MARGIN_UNIT * (apart * scores).sum(1) + margin * (error * error).sum(1)
    active = ((violation > 0) & (best > DEAD_SCORE)).int()[:, None]
    return (-active * apart).to(torch.int8), (active * error).to(torch.int8)


@contrast.register_fake
def _(
    scores: Tensor, anchors: Tensor, y: Tensor, live: Tensor, margin: int
) -> tuple[Tensor, Tensor]:
    return anchors.new_empty(scores.shape), anchors.new_empty((len(scores), anchors.shape[1]))


@custom_op("dfedge::anchor_update", mutates_args=())
def anchor_update(
    p: Tensor, coefficient: Tensor, anchors: Tensor, shift: Tensor, phase: Tensor
) -> Tensor:
    """The new anchors, int8 [K, d]: right ones move towards p, hardest wrong ones away from it.

    ``clamp(A_k + R(sum_b c[b, k] (p_b - A_k), shift), 0, 127)``.
    """
    c = coefficient.double()
    v = c.T @ p.double() - c.sum(0)[:, None] * anchors.double()
    moved = anchors + scaled_round(v.to(torch.int32), shift, phase)
    return moved.clamp(0, ACTIVATION_MAX).to(torch.int8)


@anchor_update.register_fake
def _(p: Tensor, coefficient: Tensor, anchors: Tensor, shift: Tensor, phase: Tensor) -> Tensor:
    return torch.empty_like(anchors)
