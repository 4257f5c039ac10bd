"""What only frozen trunks do: values with a zero of their own, scaled from one step to the next."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from dfedge.int8.ops.convolution import (
    groups_of,
    kernel_of,
    nchw,
    nhwc,
    output_shape,
    padded,
)
from dfedge.int8.ops.values import ACTIVATION_MAX, WEIGHT_MAX
from dfedge.int8.rounding import round_half_up

EXACT_FLOAT = 1 << 24


def _floored(total: Tensor, shift: int) -> Tensor:
    """``clamp(total >> shift, 0, 127)`` of float64: int8."""
    return torch.floor(total * 2.0**-shift).clamp(0, ACTIVATION_MAX).to(torch.int8)


@custom_op("dfedge::conv_scaled", mutates_args=())
def conv_scaled(
    x: Tensor, w: Tensor, b: Tensor, lift: Tensor, limit: Tensor, shift: int,
    geometry: Sequence[int],
) -> Tensor:  # fmt: skip
    """A convolution whose output channels have shifts of their own: int8 [B, H', W', O].

    ``min(127, (min(limit, max(0, conv(x, w) + b)) lift + 2^(shift-1)) >> shift)``.

    Args:
        lift: int32 [O], powers of two up to 2^shift.
        limit: int32 [O], ``2^(7 + shift) / lift``: what saturates in any case.
    """
    fan_in = w.shape[0] * (1 if geometry[7] else w.shape[1])
    # Exact in float32 where no partial sum reaches 2^24: several times faster.
    dtype = torch.float32 if fan_in * ACTIVATION_MAX * WEIGHT_MAX < EXACT_FLOAT else torch.float64
    kernel, groups = kernel_of(w, geometry).to(dtype), groups_of(w, geometry)
    total = F.conv2d(padded(x, geometry).to(dtype), kernel, None, geometry[2], groups=groups)
    total = nhwc(total, torch.float64) + b.double()
    total = torch.minimum(total.clamp(min=0), limit.double())
    total = round_half_up(total * lift.double() * 2.0**-shift)
    return total.clamp(0, ACTIVATION_MAX).to(torch.int8)


@conv_scaled.register_fake
def _(
    x: Tensor, w: Tensor, b: Tensor, lift: Tensor, limit: Tensor, shift: int,
    geometry: Sequence[int],
) -> Tensor:  # fmt: skip
    return x.new_empty(output_shape(x, w, geometry))


@custom_op("dfedge::scaled", mutates_args=())
def scaled(a: Tensor, factor: int, offset: int, shift: int) -> Tensor:
    """``clamp((factor a + offset) >> shift, 0, 127)``: int8; the half is part of the offset."""
    return _floored(a.double() * factor + offset, shift)


@scaled.register_fake
def _(a: Tensor, factor: int, offset: int, shift: int) -> Tensor:
    return torch.empty_like(a)


@custom_op("dfedge::mixed", mutates_args=())
def mixed(a: Tensor, c: Tensor, factor: int, other: int, offset: int, shift: int) -> Tensor:
    """``clamp((factor a + other c + offset) >> shift, 0, 127)``: int8."""
    return _floored(a.double() * factor + c.double() * other + offset, shift)


@mixed.register_fake
def _(a: Tensor, c: Tensor, factor: int, other: int, offset: int, shift: int) -> Tensor:
    return torch.empty_like(a)


@custom_op("dfedge::gated", mutates_args=())
def gated(
    a: Tensor, g: Tensor, zero: int, gate_zero: int, factor: int, offset: int, shift: int
) -> Tensor:
    """``clamp(((a - zero) (g - gate_zero) factor + offset) >> shift, 0, 127)``: int8 like a.

    Args:
        g: int8 [B, 1, 1, C], or like a.
    """
    return _floored((a.double() - zero) * (g.double() - gate_zero) * factor + offset, shift)


@gated.register_fake
def _(
    a: Tensor, g: Tensor, zero: int, gate_zero: int, factor: int, offset: int, shift: int
) -> Tensor:
    return torch.empty_like(a)


@custom_op("dfedge::swish", mutates_args=())
def swish(
    a: Tensor, zero: int, slope: int, half: int, bend: int, factor: int, offset: int, shift: int
) -> Tensor:
    """Hard swish: int8 like a; see `dfedge.trunk.Swish`."""
    v = a.double() - zero
    t = torch.floor((v * slope + half) * 2.0**-bend).clamp(0, 255)
    return _floored(v * t * factor + offset, shift)


@swish.register_fake
def _(
    a: Tensor, zero: int, slope: int, half: int, bend: int, factor: int, offset: int, shift: int
) -> Tensor:
    return torch.empty_like(a)


@custom_op("dfedge::mean_scaled", mutates_args=())
def mean_scaled(
    x: Tensor, height: int, width: int, stride: int, factor: int, offset: int, shift: int
) -> Tensor:
    """``clamp((factor sum + offset) >> shift, 0, 127)`` over windows: int8 [B, H', W', C]."""
    total = F.avg_pool2d(nchw(x), (height, width), stride, divisor_override=1)
    return nhwc(_floored(total * factor + offset, shift), torch.int8)


@mean_scaled.register_fake
def _(
    x: Tensor, height: int, width: int, stride: int, factor: int, offset: int, shift: int
) -> Tensor:
    rows, columns = (x.shape[1] - height) // stride + 1, (x.shape[2] - width) // stride + 1
    return x.new_empty((x.shape[0], rows, columns, x.shape[3]))


@custom_op("dfedge::max_window", mutates_args=())
def max_window(x: Tensor, geometry: Sequence[int]) -> Tensor:
    """The maximum over windows; what lies outside is never the largest: int8 [B, H', W', C]."""
    kh, kw, stride = geometry[:3]
    return nhwc(F.max_pool2d(padded(x, geometry), (kh, kw), stride), torch.int8)


@max_window.register_fake
def _(x: Tensor, geometry: Sequence[int]) -> Tensor:
    kh, kw, stride, top, bottom, left, right = geometry[:7]
    rows = (x.shape[1] + top + bottom - kh) // stride + 1
    columns = (x.shape[2] + left + right - kw) // stride + 1
    return x.new_empty((x.shape[0], rows, columns, x.shape[3]))
