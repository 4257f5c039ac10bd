"""Windows of convolutions and pools: what of their attributes matters on a map of this size."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dfedge.adoption.graph import Stride
from dfedge.adoption.values import Pads, Two


def counted(sides: Two, kernel: Two, stride: Two, pads: Pads) -> Two:
    """Windows down and across."""
    rows = (sides[0] + pads[0] + pads[1] - kernel[0]) // stride[0] + 1
    return rows, (sides[1] + pads[2] + pads[3] - kernel[1]) // stride[1] + 1


def one_stride(sides: Two, kernel: Two, stride: Two, pads: Pads) -> Stride:
    """A stride in its plainest form: along an axis with one window any that keeps it so will do."""
    windows = counted(sides, kernel, stride, pads)
    candidates = [stride[0], stride[1], max(*stride, *kernel)]
    if windows == (1, 1) and kernel == sides and not any(pads):
        candidates = [max(kernel)]
    for one in candidates:
        if counted(sides, kernel, (one, one), pads) == windows:
            return one
    return stride


def inside(sides: Two, kernel: Two, stride: Two, pads: Pads) -> tuple[Two, Pads]:
    """Kernel and pads without what a single window sees of the padding alone."""
    kernels, ends = list(kernel), list(pads)
    for axis, one in enumerate(counted(sides, kernel, stride, pads)):
        first, side = ends[2 * axis], sides[axis]
        if one == 1 and first + side <= kernels[axis]:
            kernels[axis], ends[2 * axis : 2 * axis + 2] = side, [0, 0]
    return (kernels[0], kernels[1]), (ends[0], ends[1], ends[2], ends[3])


def spread(weight: Tensor, dilation: Two) -> Tensor:
    """A dilated kernel [O, C, kh, kw] as a plain one, with zeros between."""
    if dilation == (1, 1):
        return weight
    out, channels, kh, kw = weight.shape
    sides = ((kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1)
    whole = weight.new_zeros(out, channels, *sides)
    whole[:, :, :: dilation[0], :: dilation[1]] = weight
    return whole


def unfilled(side: int, kernel: int, stride: int, pads: Sequence[int]) -> int:
    """By how much the last window leaves the image when one that is not full counts."""
    rest = side + sum(pads) - kernel
    windows = -(-rest // stride)
    if windows * stride >= side + pads[0]:
        windows -= 1  # it would begin in the padding below
    return max(windows * stride - rest, 0)


def banded(channels: int, size: int) -> Tensor:
    """[C, C, 1, 1]: ones where two channels are neighbours among ``size``, as LRN counts them."""
    number = torch.arange(channels)
    apart = number[None, :] - number[:, None]
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    return ((apart >= -before) & (apart <= after)).float()[:, :, None, None]


ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round_prefer_floor": lambda x: torch.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: torch.floor(x + 0.5),
}
"""How ONNX rounds a place to the nearest."""


def nearest(side: int, made: int, scale: float, centred: bool, rounding: str) -> Tensor:
    """int64 [made], which of so many rows each row of a resized map is, as ONNX says it."""
    places = torch.arange(made, dtype=torch.float64)
    places = (places + 0.5) / scale - 0.5 if centred else places / scale
    return ROUNDINGS[rounding](places).clamp(0, side - 1).long()
