"""How an error moves a convolution: correlation, the dithered rounding, the clamp."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from dfedge.int8.ops.convolution import nchw, padded
from dfedge.int8.ops.values import WEIGHT_MAX
from dfedge.int8.rounding import DITHER_BITS, dither
from dfedge.plan import MAX_DITHERED_SHIFT


def scaled_round(v: Tensor, shift: Tensor, phase: Tensor) -> Tensor:
    """``sign(v) * (((|v| >> (shift - s)) + r) >> s)``: int32 like v.

    With s = min(shift, 24) and r the dither scaled to [0, 2^s).
    """
    s = shift.clamp(max=MAX_DITHERED_SHIFT)
    r = dither(tuple(v.shape), phase)
    up, down = (s - DITHER_BITS).clamp(min=0), (DITHER_BITS - s).clamp(min=0)
    return torch.sign(v) * (((v.abs() >> (shift - s)) + ((r << up) >> down)) >> s)


def correlation(x: Tensor, e: Tensor, geometry: Sequence[int]) -> Tensor:
    """``corr(x, e)`` summed over the batch and all positions: int32 in the shape of the weights."""
    kh, kw, stride = geometry[:3]
    seen, error = padded(x, geometry), nchw(e)
    if geometry[7]:
        channels = seen.shape[1]
        seen = seen.reshape(1, -1, *seen.shape[2:])  # every channel of every sample on its own
        v = F.conv2d(seen, error.reshape(-1, 1, *error.shape[2:]), dilation=stride,
                     groups=seen.shape[1])[0]  # fmt: skip
        v = v[:, :kh, :kw].reshape(-1, channels, kh, kw).sum(0)
        return v.permute(1, 2, 0).reshape(kh * kw, channels, 1).to(torch.int32)
    v = F.conv2d(seen.transpose(0, 1), error.transpose(0, 1), dilation=stride)[:, :, :kh, :kw]
    return v.permute(2, 3, 0, 1).reshape(kh * kw, *v.shape[:2]).to(torch.int32)


@custom_op("dfedge::conv_update", mutates_args=())
def conv_update(
    x: Tensor, e: Tensor, w: Tensor, shift: Tensor, phase: Tensor, geometry: Sequence[int]
) -> Tensor:
    """A convolution's new weights, int8 like w: ``clamp(w - R(corr(x, e), shift))``.

    The correlation is summed in int32 before it is rounded, once.  Biases do not learn: moving them
    gained nothing (-0.1 to -0.3 points).

    Args:
        x: int8 [B, H, W, C], its input.
        e: int8 [B, H', W', O], the error at its output.
        shift, phase: int32 scalars, state.
    """
    moved = w - scaled_round(correlation(x, e, geometry), shift, phase)
    return moved.clamp(-WEIGHT_MAX, WEIGHT_MAX).to(torch.int8)


@conv_update.register_fake
def _(
    x: Tensor, e: Tensor, w: Tensor, shift: Tensor, phase: Tensor, geometry: Sequence[int]
) -> Tensor:
    return torch.empty_like(w)
