"""As `dfedge.int8.ops.convolution`."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dfedge.int8.ops.convolution import groups_of, strides_of
from dfedge.int8.ops.values import ACTIVATION_MAX
from dfedge.int8.stock.primitives import I8, I32, matmul_i32, matmul_signed, rounded


def taps(x: Tensor, geometry: Sequence[int]) -> list[Tensor]:
    """What each tap of the kernel sees, row by row: kh*kw times [B, H', W', C]."""
    (kh, kw), (top, bottom, left, right) = geometry[:2], geometry[3:7]
    down, across = strides_of(geometry)
    if any(geometry[3:7]):
        x = F.pad(x, (0, 0, left, right, top, bottom))
    rows, cols = (x.shape[1] - kh) // down * down, (x.shape[2] - kw) // across * across
    return [
        x[:, i : i + rows + 1 : down, j : j + cols + 1 : across]
        for i in range(kh)
        for j in range(kw)
    ]


def columns(seen: list[Tensor]) -> Tensor:
    """The taps of every position side by side: [B*H'*W', kh*kw*C]."""
    wide = torch.cat(seen, dim=3) if len(seen) > 1 else seen[0]
    return wide.reshape(-1, wide.shape[3])


def conv_sum(x: Tensor, w: Tensor, b: Tensor, geometry: Sequence[int]) -> Tensor:
    seen = taps(x, geometry)
    if geometry[7]:
        return _weighted(seen, w) + b
    acc = product(columns(seen), w, groups_of(w, geometry), matmul_i32) + b
    return acc.reshape(*seen[0].shape[:3], w.shape[2])


def product(
    seen: Tensor, w: Tensor, groups: int, multiply: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """What taps see times their weights; one product of matrices for each group, all at once.

    Args:
        seen: int8 [positions, taps*C].
        w: int8 [taps, C/groups, O].
        multiply: `matmul_i32` or `matmul_signed`.

    Returns:
        int32 [positions, O].
    """
    count, each, out = w.shape
    if groups == 1:
        return multiply(seen, w.reshape(-1, out))
    left = seen.reshape(-1, count, groups, each).permute(2, 0, 1, 3)
    right = w.reshape(count, each, groups, out // groups).permute(2, 0, 1, 3)
    total = multiply(
        left.reshape(groups, -1, count * each), right.reshape(groups, count * each, out // groups)
    )
    return total.permute(1, 0, 2).reshape(-1, out)


def _weighted(seen: list[Tensor], w: Tensor) -> Tensor:
    """Depthwise: the sum over taps of what each sees times its row of weights, int32."""
    rows = w.to(I32).reshape(w.shape[0], -1)
    total = seen[0].to(I32) * rows[0]
    for tap, row in zip(seen[1:], rows[1:], strict=True):
        total = total + tap.to(I32) * row
    return total


def conv_relu(x: Tensor, w: Tensor, b: Tensor, shift: int, geometry: Sequence[int]) -> Tensor:
    return activation(conv_sum(x, w, b, geometry), shift)


def activation(total: Tensor, shift: int) -> Tensor:
    """``min(127, (max(0, total) + 2^(shift-1)) >> shift)``, int8."""
    return rounded(total.clamp(min=0), shift).clamp(max=ACTIVATION_MAX).to(I8)


def add_relu(a: Tensor, c: Tensor, lift_a: int, lift_c: int, shift: int) -> Tensor:
    return activation(a * (1 << lift_a) + c.to(I32) * (1 << lift_c), shift)


def conv_back(e: Tensor, w: Tensor, geometry: Sequence[int], height: int, width: int) -> Tensor:
    kh, kw = geometry[:2]
    seen = taps(surrounded(e, geometry, height, width), [kh, kw, 1, 0, 0, 0, 0])[::-1]
    if geometry[7]:
        return _weighted(seen, w)
    mirrored = w.transpose(1, 2).reshape(-1, w.shape[1])
    return matmul_signed(columns(seen), mirrored).reshape(len(e), height, width, w.shape[1])


def surrounded(e: Tensor, geometry: Sequence[int], height: int, width: int) -> Tensor:
    """An error with the zeros for the convolution, of stride 1, with the mirrored kernel."""
    kh, kw, stride, top, _, left, _ = geometry[:7]
    batch, rows, cols, channels = e.shape
    if stride > 1:  # zeros between the errors
        e = F.pad(e.reshape(batch, rows, 1, cols, 1, channels),
                  (0, 0, 0, stride - 1, 0, 0, 0, stride - 1))  # fmt: skip
        e = e.reshape(batch, rows * stride, cols * stride, channels)
        e = e[:, : (rows - 1) * stride + 1, : (cols - 1) * stride + 1]
    # Pads that would be negative cut e instead.
    above, before = kh - 1 - top, kw - 1 - left
    below = height + kh - 1 - above - e.shape[1]
    behind = width + kw - 1 - before - e.shape[2]
    e = F.pad(e, [0, 0, max(before, 0), max(behind, 0), max(above, 0), max(below, 0)])
    return e[:, max(-above, 0) :, max(-before, 0) :][:, : height + kh - 1, : width + kw - 1]


def narrow(v: Tensor, shift: int) -> Tensor:
    return (torch.sign(v) * rounded(v.abs(), shift).clamp(max=ACTIVATION_MAX)).to(I8)


def gate(e: Tensor, h: Tensor) -> Tensor:
    return (e.to(I32) * (h > 0).to(I32)).to(I8)


def add_errors(a: Tensor, c: Tensor) -> Tensor:
    return (a.to(I32) + c.to(I32)).clamp(-ACTIVATION_MAX, ACTIVATION_MAX).to(I8)


def signed_as(b: Tensor, w: Tensor) -> Tensor:
    return (b.to(I32).abs() * torch.sign(w.to(I32))).to(I8)
