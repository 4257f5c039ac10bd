"""The integer operations as `torch.library` operations, each with its exact definition.

A definition here favours the clearest exact arithmetic that PyTorch has: float64 holds every sum
that `dfedge.int8.bounds` admits without rounding.  How a runtime computes the same bits is the
matter of `dfedge.int8.stock` (any runtime's own operators).

Layouts: activations int8 [B, H, W, C], values 0..127; weights int8 [k*k, C, O], taps row by row,
values -127..127; bias int32 [O]; anchors int8 [K, d], values 0..127.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from dfedge.int8.rounding import DITHER_BITS, dither, round_half_up

ACTIVATION_MAX = 127
WEIGHT_MAX = 127
DEAD_SCORE = -(1 << 30)
"""The score of a class that is not live: below every score that `bounds` admits."""
MARGIN_UNIT = 16
"""Margins are integers in sixteenths of the separation of two anchors."""


def side(taps: int) -> int:
    """The side k of a kernel of k*k taps."""
    return math.isqrt(taps)


def _nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2).double()


def scaled_round(v: Tensor, shift: Tensor, phase: Tensor) -> Tensor:
    """``sign(v) * ((|v| + r) >> shift)`` with r the dither scaled to [0, 2^shift): int32 like v."""
    r = dither(tuple(v.shape), phase)
    up, down = (shift - DITHER_BITS).clamp(min=0), (DITHER_BITS - shift).clamp(min=0)
    return torch.sign(v) * ((v.abs() + ((r << up) >> down)) >> shift)


@custom_op("dfedge::conv_relu", mutates_args=())
def conv_relu(x: Tensor, w: Tensor, b: Tensor, shift: int) -> Tensor:
    """Same-padded k x k convolution, bias, ReLU, rounding right shift: int8 [B, H, W, O].

    ``min(127, (max(0, conv(x, w) + b) + 2^(shift-1)) >> shift)``, accumulated in int32.
    """
    k = side(w.shape[0])
    kernel = w.double().reshape(k, k, *w.shape[1:]).permute(3, 2, 0, 1)
    acc = F.conv2d(_nchw(x), kernel, b.double(), padding=k // 2)
    h = round_half_up(acc.relu() * 2.0**-shift).clamp(max=ACTIVATION_MAX)
    return h.permute(0, 2, 3, 1).to(torch.int8).contiguous()


@conv_relu.register_fake
def _(x: Tensor, w: Tensor, b: Tensor, shift: int) -> Tensor:
    return x.new_empty((*x.shape[:3], w.shape[2]))


@custom_op("dfedge::max_pool", mutates_args=())
def max_pool(x: Tensor) -> Tensor:
    """2 x 2 maximum with stride 2, an odd last row or column left out: int8 [B, H//2, W//2, C]."""
    return F.max_pool2d(_nchw(x), 2).permute(0, 2, 3, 1).to(torch.int8).contiguous()


@max_pool.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty((x.shape[0], x.shape[1] // 2, x.shape[2] // 2, x.shape[3]))


@custom_op("dfedge::pool_cells", mutates_args=())
def pool_cells(x: Tensor, cells: int) -> Tensor:
    """Mean over ``cells x cells`` equal cells, flattened: int8 [B, cells*cells*C].

    A cell is ceil(H/cells) x ceil(W/cells); what lies outside the image counts as zero, so every
    cell divides by the same n: ``(2 sum + n) // (2 n)``.
    """
    height, width = (-(-n // cells) for n in x.shape[1:3])
    padded = F.pad(_nchw(x), (0, width * cells - x.shape[2], 0, height * cells - x.shape[1]))
    total = F.avg_pool2d(padded, (height, width), divisor_override=1)
    n = height * width
    mean = torch.floor((2 * total + n) / (2 * n))  # exact: both operands below 2^53
    return mean.permute(0, 2, 3, 1).to(torch.int8).reshape(x.shape[0], -1)


@pool_cells.register_fake
def _(x: Tensor, cells: int) -> Tensor:
    return x.new_empty((x.shape[0], cells * cells * x.shape[3]))


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


def spread_error(h: Tensor, error: Tensor, cells: int) -> Tensor:
    """The error at each position, through the pool and the ReLU: [B, H, W, O], dtype of error."""
    height, width = (-(-n // cells) for n in h.shape[1:3])
    e = error.reshape(h.shape[0], cells, cells, h.shape[3])
    e = e.repeat_interleave(height, 1).repeat_interleave(width, 2)
    return e[:, : h.shape[1], : h.shape[2]] * (h > 0)


def correlation(x: Tensor, h: Tensor, error: Tensor, w: Tensor, cells: int) -> Tensor:
    """``corr(x, e)`` summed over the batch and all positions: int32 in the shape of w.

    e is ``error`` [B, d] spread back over the pool's cells where h > 0.
    """
    k = side(w.shape[0])
    e = spread_error(h, error, cells).permute(3, 0, 1, 2).double()
    x_padded = F.pad(_nchw(x).transpose(0, 1), [k // 2] * 4)
    v = F.conv2d(x_padded, e)  # [C, O, k, k]
    return v.permute(2, 3, 0, 1).reshape(w.shape).to(torch.int32)


@custom_op("dfedge::conv_update", mutates_args=())
def conv_update(
    x: Tensor, h: Tensor, error: Tensor, w: Tensor, shift: Tensor, phase: Tensor, cells: int
) -> Tensor:
    """The layer's new weights, int8 [k*k, C, O]: ``clamp(w - R(corr(x, e), shift))``.

    The correlation is summed in int32 before it is rounded, once.
    """
    v = correlation(x, h, error, w, cells)
    return (w - scaled_round(v, shift, phase)).clamp(-WEIGHT_MAX, WEIGHT_MAX).to(torch.int8)


@conv_update.register_fake
def _(
    x: Tensor, h: Tensor, error: Tensor, w: Tensor, shift: Tensor, phase: Tensor, cells: int
) -> Tensor:
    return torch.empty_like(w)


@custom_op("dfedge::bias_update", mutates_args=())
def bias_update(
    h: Tensor, error: Tensor, b: Tensor, shift: Tensor, phase: Tensor, cells: int
) -> Tensor:
    """The layer's new bias, int32 [O]: ``b - round(sum(e) / 2^shift)``, kept within 2^30."""
    v = spread_error(h, error, cells).to(torch.int32).sum((0, 1, 2), dtype=torch.int32)
    return (b - scaled_round(v, shift, phase)).clamp(DEAD_SCORE, -DEAD_SCORE)


@bias_update.register_fake
def _(h: Tensor, error: Tensor, b: Tensor, shift: Tensor, phase: Tensor, cells: int) -> Tensor:
    return torch.empty_like(b)


@custom_op("dfedge::anchor_update", mutates_args=())
def anchor_update(
    p: Tensor, coefficient: Tensor, anchors: Tensor, shift: Tensor, phase: Tensor
) -> Tensor:
    """The new anchors, int8 [K, d]: right ones move towards p, hardest wrong ones away from it.

    ``clamp(A_k + round(sum_b c[b, k] (p_b - A_k) / 2^shift), 0, 127)``.
    """
    c = coefficient.double()
    v = c.T @ p.double() - c.sum(0)[:, None] * anchors.double()
    moved = anchors + scaled_round(v.to(torch.int32), shift, phase)
    return moved.clamp(0, ACTIVATION_MAX).to(torch.int8)


@anchor_update.register_fake
def _(p: Tensor, coefficient: Tensor, anchors: Tensor, shift: Tensor, phase: Tensor) -> Tensor:
    return torch.empty_like(anchors)
