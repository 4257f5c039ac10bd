"""As `dfedge.int8.ops.update`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dfedge.int8.ops.values import WEIGHT_MAX
from dfedge.int8.rounding import DITHER_BITS, dither
from dfedge.int8.stock.convolution import columns, taps
from dfedge.int8.stock.primitives import I8, I32, constant, correlate, shift_right
from dfedge.plan import MAX_DITHERED_SHIFT


def scaled_round(v: Tensor, shift: Tensor, phase: Tensor) -> Tensor:
    """The dither is scaled to [0, 2^shift) by a product and a shift."""
    growth = MAX_DITHERED_SHIFT - DITHER_BITS
    s = shift.clamp(max=MAX_DITHERED_SHIFT)
    up = (s - DITHER_BITS).clamp(min=0)
    power = shift_right(constant(1 << growth), growth - up)
    r = shift_right(dither(tuple(v.shape), phase) * power, (DITHER_BITS - s).clamp(min=0))
    rounded: Tensor = torch.sign(v) * shift_right(shift_right(v.abs(), shift - s) + r, s)
    return rounded


def correlation(x: Tensor, e: Tensor, geometry: Sequence[int]) -> Tensor:
    seen = taps(x, geometry)
    if geometry[7]:
        error = e.to(I32)
        rows = [(tap.to(I32) * error).sum((0, 1, 2), dtype=I32) for tap in seen]
        return torch.stack(rows).reshape(len(seen), x.shape[3], 1)
    v = correlate(columns(seen), e.reshape(-1, e.shape[3]))
    return v.reshape(len(seen), x.shape[3], e.shape[3])


def conv_update(
    x: Tensor, e: Tensor, w: Tensor, shift: Tensor, phase: Tensor, geometry: Sequence[int]
) -> Tensor:
    moved = w.to(I32) - scaled_round(correlation(x, e, geometry), shift, phase)
    return moved.clamp(-WEIGHT_MAX, WEIGHT_MAX).to(I8)
