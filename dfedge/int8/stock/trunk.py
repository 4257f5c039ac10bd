"""As `dfedge.int8.ops.trunk`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dfedge.int8.ops.values import ACTIVATION_MAX
from dfedge.int8.stock.convolution import activation, conv_sum, taps
from dfedge.int8.stock.primitives import I8, I32, constant, shift_right


def lifted(total: Tensor, lift: Tensor, limit: Tensor, shift: int) -> Tensor:
    """From accumulators to int8: each output channel by its own shift."""
    return activation(torch.minimum(total.clamp(min=0), limit) * lift, shift)


def conv_scaled(
    x: Tensor, w: Tensor, b: Tensor, lift: Tensor, limit: Tensor, shift: int,
    geometry: Sequence[int],
) -> Tensor:  # fmt: skip
    return lifted(conv_sum(x, w, b, geometry), lift, limit, shift)


def _floored(total: Tensor, shift: int) -> Tensor:
    """``clamp(total >> shift, 0, 127)``: what is negative ends at 0 in any case."""
    positive = total.clamp(min=0)
    shifted = shift_right(positive, constant(shift)) if shift else positive
    return shifted.clamp(max=ACTIVATION_MAX).to(I8)


def scaled(a: Tensor, factor: int, offset: int, shift: int) -> Tensor:
    return _floored(a.to(I32) * factor + offset, shift)


def mixed(a: Tensor, c: Tensor, factor: int, other: int, offset: int, shift: int) -> Tensor:
    return _floored(a.to(I32) * factor + c.to(I32) * other + offset, shift)


def gated(
    a: Tensor, g: Tensor, zero: int, gate_zero: int, factor: int, offset: int, shift: int
) -> Tensor:
    return _floored((a.to(I32) - zero) * ((g.to(I32) - gate_zero) * factor) + offset, shift)


def swish(
    a: Tensor, zero: int, slope: int, half: int, bend: int, factor: int, offset: int, shift: int
) -> Tensor:
    v = a.to(I32) - zero
    bent = shift_right((v * slope + half).clamp(min=0), constant(bend)).clamp(max=255)
    return _floored(v * bent * factor + offset, shift)


def mean_scaled(
    x: Tensor, height: int, width: int, stride: int, factor: int, offset: int, shift: int
) -> Tensor:
    if (height, width) == tuple(x.shape[1:3]):
        total = x.to(I32).sum((1, 2), keepdim=True, dtype=I32)
    else:
        seen = taps(x, [height, width, stride, 0, 0, 0, 0])
        total = seen[0].to(I32)
        for tap in seen[1:]:
            total = total + tap.to(I32)
    return _floored(total * factor + offset, shift)


def max_window(x: Tensor, geometry: Sequence[int]) -> Tensor:
    first, *rest = taps(x, geometry)
    for tap in rest:
        first = torch.maximum(first, tap)
    return first
