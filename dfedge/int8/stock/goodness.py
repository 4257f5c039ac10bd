"""As `dfedge.int8.ops.goodness`."""

import torch
from torch import Tensor

from dfedge.int8.ops.values import (
    ACTIVATION_MAX,
    LEVEL_STEP,
    LEVELS,
    MARGIN_UNIT,
)
from dfedge.int8.stock.primitives import I8, I32, correlate, matmul_i32, rounded
from dfedge.int8.stock.update import scaled_round
from dfedge.state import DEAD_SCORE


def anchor_scores(p: Tensor, anchors: Tensor) -> Tensor:
    a = anchors.to(I32)
    scores: Tensor = 2 * matmul_i32(p, anchors.transpose(0, 1)) - (a * a).sum(1, dtype=I32)
    return scores


def one_hot(y: Tensor, classes: int) -> Tensor:
    """int32 [B, K]."""
    return (y.reshape(-1, 1) == torch.arange(classes, dtype=I32)).to(I32)


def first_of(best: Tensor, among: Tensor, dim: int) -> Tensor:
    """One-hot of the first that equals ``best`` along a dimension, without argmax: int32."""
    count = among.shape[dim]
    shape = [count if d == dim else 1 for d in range(among.dim())]
    places = torch.arange(count, dtype=I32).reshape(shape)
    tied = (among == best).to(I32)
    first = (places * tied + count * (1 - tied)).amin(dim, keepdim=True)
    return (first == places).to(I32)


def rows_of(anchors: Tensor, chosen: Tensor) -> Tensor:
    """Sums of rows int8 [K, d] with coefficients int32 [B, K] of -1, 0 and 1: int32 [B, d]."""
    chosen = chosen.to(I8).transpose(0, 1)
    picked: Tensor = matmul_i32(anchors.transpose(0, 1), chosen).transpose(0, 1)
    return picked


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
    right = one_hot(y, anchors.shape[0])
    rival = live.to(I32) * (1 - right)
    rivals = scores * rival + DEAD_SCORE * (1 - rival)
    best = rivals.amax(1, keepdim=True)
    wrong = first_of(best, rivals, 1)
    apart = wrong - right
    error = rows_of(anchors, apart)
    gap = (apart * scores).sum(1, keepdim=True, dtype=I32)
    distance = (error * error).sum(1, keepdim=True, dtype=I32)
    steps = torch.arange(LEVELS, dtype=I32) * LEVEL_STEP
    passed = (MARGIN_UNIT * gap + margin * distance > distance * steps).to(I32)
    level = passed.sum(1, keepdim=True, dtype=I32) * (best > DEAD_SCORE).to(I32)
    error = level * (error * (1 << pull) + (p.to(I32) - rows_of(anchors, right)))
    error = torch.sign(error) * rounded(error.abs(), pull)
    error = error.clamp(-ACTIVATION_MAX, ACTIVATION_MAX)
    repels = (distance < separation).to(I32)
    coefficient = level * (right - wrong * repels)
    return coefficient.to(I8), error.to(I8)


def anchor_update(
    p: Tensor, coefficient: Tensor, anchors: Tensor, shift: Tensor, phase: Tensor
) -> Tensor:
    pull = correlate(p, coefficient).transpose(0, 1)
    count = coefficient.to(I32).sum(0, dtype=I32).reshape(-1, 1)
    moved = anchors.to(I32)
    moved = moved + scaled_round(pull - count * moved, shift, phase)
    return moved.clamp(0, ACTIVATION_MAX).to(I8)
