"""Goodness as the distance to anchors (one-pass form): scores, margin loss, anchors' updates."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from dfedge.int8.ops.update import scaled_round
from dfedge.int8.ops.values import (
    ACTIVATION_MAX,
    LEVEL_STEP,
    LEVELS,
    MARGIN_UNIT,
)
from dfedge.state import DEAD_SCORE


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
    scores: Tensor,
    p: Tensor,
    anchors: Tensor,
    y: Tensor,
    live: Tensor,
    margin: int,
    pull: int,
    separation: int,
) -> tuple[Tensor, Tensor]:
    """The margin loss's error: coefficients int8 [B, K] and error int8 [B, d].

    With y the label, k* the nearest live wrong anchor (the first among equals) and
    ``D = |A_k* - A_y|^2``, a sample violates the margin by ``v = 16 (score_k* - score_y) + margin
    D``.  Its level, 0 to 8, is the number of j in 0..7 with ``v > 2 j D``: how far it is beyond the
    margin, in eighths of the separation (a squared hinge that saturates).  Its error is ``level
    (A_k* - A_y + (p - A_y) / 2^pull)``, rounded half away from zero and saturated; its coefficient
    is ``level`` at y and ``-level`` at k*, the latter only where ``D < separation``.  Where no
    other class is live all are zero.
    """
    classes = anchors.shape[0]
    right = F.one_hot(y.long(), classes).bool()
    rivals = scores.masked_fill(right | ~live.bool(), DEAD_SCORE)
    best, index = rivals.max(1)
    wrong = F.one_hot(index, classes).bool()
    apart = wrong.int() - right.int()
    error = (apart.double() @ anchors.double()).to(torch.int32)
    distance = (error * error).sum(1, dtype=torch.int32)
    violation = MARGIN_UNIT * (apart * scores).sum(1, dtype=torch.int32) + margin * distance
    level = torch.stack([violation > LEVEL_STEP * j * distance for j in range(LEVELS)]).sum(0)
    level = (level * (best > DEAD_SCORE)).int()[:, None]
    away = p.int() - anchors[y.long()].int()
    error = level * (error * (1 << pull) + away)
    error = torch.sign(error) * ((error.abs() + ((1 << pull) >> 1)) >> pull)
    error = error.clamp(-ACTIVATION_MAX, ACTIVATION_MAX)
    repels = (distance < separation).int()[:, None]
    coefficient = level * (right.int() - wrong.int() * repels)
    return coefficient.to(torch.int8), error.to(torch.int8)


@contrast.register_fake
def _(
    scores: Tensor,
    p: Tensor,
    anchors: Tensor,
    y: Tensor,
    live: Tensor,
    margin: int,
    pull: int,
    separation: int,
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
