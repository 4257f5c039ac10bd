"""Convolutions forward, and errors carried back through them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from dfedge.int8.ops.values import ACTIVATION_MAX
from dfedge.int8.rounding import round_half_up


def nchw(x: Tensor) -> Tensor:
    """int8 [B, H, W, C] -> float64 [B, C, H, W]."""
    return x.permute(0, 3, 1, 2).double()


def nhwc(x: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, C, H, W] -> [B, H, W, C]."""
    return x.permute(0, 2, 3, 1).to(dtype).contiguous()


def padded(x: Tensor, geometry: Sequence[int]) -> Tensor:
    """float64 [B, C, H', W'] with the geometry's zeros around it."""
    top, bottom, left, right = geometry[3:7]
    return F.pad(nchw(x), (left, right, top, bottom))


def kernel_of(w: Tensor, geometry: Sequence[int]) -> Tensor:
    """As torch takes it: float64 [O, C/groups, kh, kw], depthwise [C, 1, kh, kw]."""
    kernel = w.double().reshape(geometry[0], geometry[1], *w.shape[1:])
    return kernel.permute(2, 3, 0, 1) if geometry[7] else kernel.permute(3, 2, 0, 1)


def groups_of(w: Tensor, geometry: Sequence[int]) -> int:
    """How many groups of channels are convolved on their own."""
    if geometry[7]:
        return w.shape[1]
    return geometry[9] if len(geometry) > 9 else 1


def strides_of(geometry: Sequence[int]) -> tuple[int, int]:
    """Down and across."""
    return geometry[2], geometry[8] if len(geometry) > 8 else geometry[2]


def output_shape(x: Tensor, w: Tensor, geometry: Sequence[int]) -> tuple[int, int, int, int]:
    """[B, H', W', O]."""
    kh, kw, stride, top, bottom, left, right, depthwise = geometry
    height = (x.shape[1] + top + bottom - kh) // stride + 1
    width = (x.shape[2] + left + right - kw) // stride + 1
    return x.shape[0], height, width, w.shape[1] if depthwise else w.shape[2]


def _accumulate(x: Tensor, w: Tensor, b: Tensor, geometry: Sequence[int]) -> Tensor:
    kernel, groups = kernel_of(w, geometry), groups_of(w, geometry)
    return F.conv2d(padded(x, geometry), kernel, b.double(), geometry[2], groups=groups)


def _activation(total: Tensor, shift: int) -> Tensor:
    """``min(127, (max(0, total) + 2^(shift-1)) >> shift)`` in float64."""
    return round_half_up(total.relu() * 2.0**-shift).clamp(max=ACTIVATION_MAX)


@custom_op("dfedge::conv_sum", mutates_args=())
def conv_sum(x: Tensor, w: Tensor, b: Tensor, geometry: Sequence[int]) -> Tensor:
    """Convolution and bias, the accumulator itself: int32 [B, H', W', O]."""
    return nhwc(_accumulate(x, w, b, geometry), torch.int32)


@conv_sum.register_fake
def _(x: Tensor, w: Tensor, b: Tensor, geometry: Sequence[int]) -> Tensor:
    return x.new_empty(output_shape(x, w, geometry), dtype=torch.int32)


@custom_op("dfedge::conv_relu", mutates_args=())
def conv_relu(x: Tensor, w: Tensor, b: Tensor, shift: int, geometry: Sequence[int]) -> Tensor:
    """Convolution, bias, ReLU, rounding right shift: int8 [B, H', W', O].

    ``min(127, (max(0, conv(x, w) + b) + 2^(shift-1)) >> shift)``, accumulated in int32.
    """
    return nhwc(_activation(_accumulate(x, w, b, geometry), shift), torch.int8)


@conv_relu.register_fake
def _(x: Tensor, w: Tensor, b: Tensor, shift: int, geometry: Sequence[int]) -> Tensor:
    return x.new_empty(output_shape(x, w, geometry))


@custom_op("dfedge::add_relu", mutates_args=())
def add_relu(a: Tensor, c: Tensor, lift_a: int, lift_c: int, shift: int) -> Tensor:
    """The end of a residual layer: int8, ``min(127, (max(0, a 2^la + c 2^lc) + half) >> shift)``.

    Args:
        a: int32 [B, H, W, O], the inner branch's accumulator.
        c: int32 of the same shape (the skipped input's convolution), or int8 (the input itself).
    """
    total = a.double() * 2.0**lift_a + c.double() * 2.0**lift_c
    return _activation(total, shift).to(torch.int8)


@add_relu.register_fake
def _(a: Tensor, c: Tensor, lift_a: int, lift_c: int, shift: int) -> Tensor:
    return torch.empty_like(a, dtype=torch.int8)


@custom_op("dfedge::conv_back", mutates_args=())
def conv_back(e: Tensor, w: Tensor, geometry: Sequence[int], height: int, width: int) -> Tensor:
    """The transposed convolution: an error at the output, carried to the input, not yet rounded.

    Args:
        e: int8 [B, H', W', O].
        height, width: of the convolution's input.

    Returns:
        int32 [B, height, width, C].
    """
    top, bottom, left, right = geometry[3:7]
    kernel, groups = kernel_of(w, geometry), groups_of(w, geometry)
    back = F.conv_transpose2d(nchw(e), kernel, stride=geometry[2], groups=groups)
    missing = (height + top + bottom - back.shape[2], width + left + right - back.shape[3])
    back = F.pad(back, (0, missing[1], 0, missing[0]))
    return nhwc(back[:, :, top : top + height, left : left + width], torch.int32)


@conv_back.register_fake
def _(e: Tensor, w: Tensor, geometry: Sequence[int], height: int, width: int) -> Tensor:
    return e.new_empty((e.shape[0], height, width, w.shape[1]), dtype=torch.int32)


@custom_op("dfedge::narrow", mutates_args=())
def narrow(v: Tensor, shift: int) -> Tensor:
    """An error's rounding: int8, ``sign(v) min(127, (|v| + 2^(shift-1)) >> shift)``."""
    size = round_half_up(v.abs().double() * 2.0**-shift).clamp(max=ACTIVATION_MAX)
    return (torch.sign(v) * size).to(torch.int8)


@narrow.register_fake
def _(v: Tensor, shift: int) -> Tensor:
    return torch.empty_like(v, dtype=torch.int8)


@custom_op("dfedge::gate", mutates_args=())
def gate(e: Tensor, h: Tensor) -> Tensor:
    """An error through a ReLU: int8, e where h > 0, else 0."""
    return e * (h > 0)


@gate.register_fake
def _(e: Tensor, h: Tensor) -> Tensor:
    return torch.empty_like(e)


@custom_op("dfedge::add_errors", mutates_args=())
def add_errors(a: Tensor, c: Tensor) -> Tensor:
    """The sum of two errors, saturated: int8 in -127..127."""
    return (a.int() + c.int()).clamp(-ACTIVATION_MAX, ACTIVATION_MAX).to(torch.int8)


@add_errors.register_fake
def _(a: Tensor, c: Tensor) -> Tensor:
    return torch.empty_like(a)


@custom_op("dfedge::signed_as", mutates_args=())
def signed_as(b: Tensor, w: Tensor) -> Tensor:
    """Feedback of the weights' signs: int8, ``|b| sign(w)``."""
    return b.abs() * torch.sign(w)


@signed_as.register_fake
def _(b: Tensor, w: Tensor) -> Tensor:
    return torch.empty_like(b)
