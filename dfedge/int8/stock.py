"""The stock rendering: every integer operation in operators that any runtime ships.

One decomposition serves all formats.  It leaves two primitives, whose exact form differs from
runtime to runtime and which an exporter therefore translates by name:

    matmul_i32(a, b)    int8 [M, K] in 0..127 times int8 [K, N] -> int32 [M, N]
    shift_right(v, s)   int32 >= 0 of any shape, int32 scalar 0..31 -> floor(v / 2^s)

Everything else is addition, comparison, clamping and moving of int32 and int8 values, which all
runtimes do alike.  Written so that runtimes' known errors are not met: no negative number is
shifted, divided or taken modulo; no argmax, gather or scatter; no arithmetic on int8 itself.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from dfedge.int8 import ops
from dfedge.int8.rounding import DITHER_BITS, MAX_UPDATE_SHIFT, dither

I8, I32 = torch.int8, torch.int32


@custom_op("dfedge::matmul_i32", mutates_args=())
def matmul_i32(a: Tensor, b: Tensor) -> Tensor:
    """Integer product: int8 [M, K], values 0..127, times int8 [K, N] -> int32 [M, N]."""
    return (a.double() @ b.double()).to(I32)


@matmul_i32.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty((a.shape[0], b.shape[1]), dtype=I32)


@custom_op("dfedge::shift_right", mutates_args=())
def shift_right(v: Tensor, shift: Tensor) -> Tensor:
    """``floor(v / 2^shift)`` of non-negative int32."""
    return v >> shift


@shift_right.register_fake
def _(v: Tensor, shift: Tensor) -> Tensor:
    return torch.empty_like(v)


def _constant(value: int) -> Tensor:
    return torch.full((), value, dtype=I32)


def scaled_round(v: Tensor, shift: Tensor, phase: Tensor) -> Tensor:
    """As `ops.scaled_round`; the dither is scaled to [0, 2^shift) by a product and a shift."""
    growth = MAX_UPDATE_SHIFT - DITHER_BITS
    up = (shift - DITHER_BITS).clamp(min=0)
    power = shift_right(_constant(1 << growth), growth - up)
    r = shift_right(dither(tuple(v.shape), phase) * power, (DITHER_BITS - shift).clamp(min=0))
    rounded: Tensor = torch.sign(v) * shift_right(v.abs() + r, shift)
    return rounded


def columns(x: Tensor, kernel: int) -> Tensor:
    """The k*k taps of every position side by side: [B, H, W, C] -> [B*H*W, k*k*C]."""
    batch, height, width, channels = x.shape
    if kernel > 1:
        reach = kernel // 2
        padded = F.pad(x, (0, 0, reach, reach, reach, reach))
        taps = [
            padded[:, i : i + height, j : j + width] for i in range(kernel) for j in range(kernel)
        ]
        x = torch.cat(taps, dim=3)
    return x.reshape(batch * height * width, kernel * kernel * channels)


def conv_relu(x: Tensor, w: Tensor, b: Tensor, shift: int) -> Tensor:
    acc = matmul_i32(columns(x, ops.side(w.shape[0])), w.reshape(-1, w.shape[2])) + b
    half = (1 << shift) >> 1
    h: Tensor = shift_right(acc.clamp(min=0) + half, _constant(shift)).clamp(max=ops.ACTIVATION_MAX)
    return h.to(I8).reshape(*x.shape[:3], w.shape[2])


def max_pool(x: Tensor) -> Tensor:
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    rows = torch.maximum(x[:, 0:height:2], x[:, 1:height:2])
    return torch.maximum(rows[:, :, 0:width:2], rows[:, :, 1:width:2])


def pool_cells(x: Tensor, cells: int) -> Tensor:
    batch, channels = x.shape[0], x.shape[3]
    height, width = (-(-n // cells) for n in x.shape[1:3])
    padded = F.pad(x, (0, 0, 0, width * cells - x.shape[2], 0, height * cells - x.shape[1]))
    parts = padded.reshape(batch, cells, height, cells, width, channels).to(I32)
    total = parts.sum((2, 4), dtype=I32)
    n = height * width
    # Half a unit above the integer, so that no rounding of the quotient can cross it.
    mean = torch.floor((2 * total + n).to(torch.float32).add(0.5) * (1.0 / (2 * n)))
    return mean.to(I32).to(I8).reshape(batch, cells * cells * channels)


def anchor_scores(p: Tensor, anchors: Tensor) -> Tensor:
    a = anchors.to(I32)
    scores: Tensor = 2 * matmul_i32(p, anchors.transpose(0, 1)) - (a * a).sum(1, dtype=I32)
    return scores


def contrast(
    scores: Tensor, anchors: Tensor, y: Tensor, live: Tensor, margin: int
) -> tuple[Tensor, Tensor]:
    classes = anchors.shape[0]
    labels = torch.arange(classes, dtype=I32)
    right = (y.reshape(-1, 1) == labels).to(I32)
    rival = live.to(I32) * (1 - right)
    rivals = scores * rival + ops.DEAD_SCORE * (1 - rival)
    best = rivals.amax(1, keepdim=True)
    # The first of the best, without argmax: the smallest label among those that reach the best.
    tied = (rivals == best).to(I32)
    first = (labels * tied + classes * (1 - tied)).amin(1, keepdim=True)
    apart = (first == labels).to(I32) - right
    error = matmul_i32(anchors.transpose(0, 1), apart.to(I8).transpose(0, 1)).transpose(0, 1)
    gap = (apart * scores).sum(1, keepdim=True, dtype=I32)
    separation = (error * error).sum(1, keepdim=True, dtype=I32)
    violated = ((ops.MARGIN_UNIT * gap + margin * separation) > 0).to(I32)
    active = violated * (best > ops.DEAD_SCORE).to(I32)
    return (active * (0 - apart)).to(I8), (active * error).to(I8)


def spread_error(h: Tensor, error: Tensor, cells: int) -> Tensor:
    batch, rows, cols, channels = h.shape
    height, width = (-(-n // cells) for n in (rows, cols))
    e = error.reshape(batch, cells, 1, cells, 1, channels)
    e = e.expand(batch, cells, height, cells, width, channels)
    e = e.reshape(batch, cells * height, cells * width, channels)[:, :rows, :cols]
    return e.to(I32) * (h > 0).to(I32)


def conv_update(
    x: Tensor, h: Tensor, error: Tensor, w: Tensor, shift: Tensor, phase: Tensor, cells: int
) -> Tensor:
    e = spread_error(h, error, cells).to(I8).reshape(-1, w.shape[2])
    taps = columns(x, ops.side(w.shape[0]))
    v = matmul_i32(taps.transpose(0, 1), e).reshape(w.shape)
    moved = w.to(I32) - scaled_round(v, shift, phase)
    return moved.clamp(-ops.WEIGHT_MAX, ops.WEIGHT_MAX).to(I8)


def bias_update(
    h: Tensor, error: Tensor, b: Tensor, shift: Tensor, phase: Tensor, cells: int
) -> Tensor:
    v = spread_error(h, error, cells).sum((0, 1, 2), dtype=I32)
    return (b - scaled_round(v, shift, phase)).clamp(ops.DEAD_SCORE, -ops.DEAD_SCORE)


def anchor_update(
    p: Tensor, coefficient: Tensor, anchors: Tensor, shift: Tensor, phase: Tensor
) -> Tensor:
    pull = matmul_i32(p.transpose(0, 1), coefficient).transpose(0, 1)
    count = coefficient.to(I32).sum(0, dtype=I32).reshape(-1, 1)
    moved = anchors.to(I32)
    moved = moved + scaled_round(pull - count * moved, shift, phase)
    return moved.clamp(0, ops.ACTIVATION_MAX).to(I8)


def decompositions() -> dict[Any, Callable[..., Any]]:
    """For ``ExportedProgram.run_decompositions``: operation -> its stock rendering."""
    rendered: list[Callable[..., Any]] = [
        conv_relu, max_pool, pool_cells, anchor_scores,
        contrast, conv_update, bias_update, anchor_update,
    ]  # fmt: skip
    return {getattr(torch.ops.dfedge, f.__name__).default: f for f in rendered}
