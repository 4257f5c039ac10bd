"""Normalisation, ReLU and the goodness's pooling in one differentiable piece that keeps one map.

Autograd keeps the convolution's output, the normalised map and the ReLU's output, and makes two
more on the way back.  The error of a strictly local layer is known from p alone, so here the
forward pass keeps only the convolution's output z, and the way back makes only dL/dz; everything
between lives for a few samples at a time.  Numbers: `dfedge reproduce d`.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfedge.maps import cell_grid, cells_of, pool_window, pooled

CHUNK = 8
"""Samples whose temporaries live at a time."""


class _Read(torch.autograd.Function):
    """z [B, C, H, W], gamma, beta [C] -> p [B, cells * cells * C] and what is handed on."""

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        gamma: Tensor,
        beta: Tensor,
        norm: nn.BatchNorm2d,
        cells: int,
        pool: bool,
    ) -> tuple[Tensor, Tensor]:
        mean, deviation = _statistics(z, norm)
        inverse = 1 / deviation
        scale, shift = gamma * inverse, beta - mean * gamma * inverse
        batch, channels, height, width = z.shape
        a = z.new_empty(batch, channels, *(pooled((height, width)) if pool else (height, width)))
        p = scale.new_empty(batch, math.prod(cell_grid((height, width), cells)) * channels)
        for part, to_a, to_p in zip(_parts(z), _parts(a), _parts(p), strict=True):
            h = F.relu(part * _map(scale) + _map(shift))
            to_p.copy_(pool_cells(h, cells))
            to_a.copy_(F.max_pool2d(h, pool_window((height, width))) if pool else h)
        ctx.save_for_backward(z, scale, shift, mean, inverse)
        ctx.cells, ctx.batch_statistics = cells, norm.training
        ctx.mark_non_differentiable(a)
        return p, a

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> tuple[Tensor | None, ...]:
        z, scale, shift, mean, inverse = ctx.saved_tensors
        count = z.numel() // z.shape[1]

        def pieces() -> Iterator[tuple[Tensor, Tensor]]:
            for part, error in zip(_parts(z), _parts(errors[0]), strict=True):
                seen = part * _map(scale) + _map(shift) > 0
                spread = _spread(error, ctx.cells, part.shape[1:])
                yield spread * seen, (part - _map(mean)) * _map(inverse)

        to_beta = torch.zeros_like(mean)
        to_gamma = torch.zeros_like(mean)
        for g, normal in pieces():
            to_beta += g.sum((0, 2, 3))
            to_gamma += (g * normal).sum((0, 2, 3))
        to_z = torch.empty_like(z)
        for piece, (g, normal) in zip(_parts(to_z), pieces(), strict=True):
            if ctx.batch_statistics:
                g = g - _map(to_beta / count) - normal * _map(to_gamma / count)
            piece.copy_(g * _map(scale))
        return to_z, to_gamma, to_beta, None, None, None


def read(z: Tensor, norm: nn.BatchNorm2d, cells: int, pool: bool) -> tuple[Tensor, Tensor]:
    """What the anchors see, p [B, cells*cells*C] in float32, and the detached input of the next.

    Args:
        z: a convolution's output.
        norm: its normalisation; in training its running statistics move as PyTorch's do.
        cells: see `pool_cells`.
        pool: hand on the 2 x 2 maximum.
    """
    result: tuple[Tensor, Tensor] = _Read.apply(z, norm.weight, norm.bias, norm, cells, pool)  # type: ignore[no-untyped-call]
    return result


@torch.no_grad()
def _statistics(z: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel: the batch's own in training."""
    assert norm.running_mean is not None and norm.running_var is not None
    if not norm.training or z.numel() == z.shape[1]:  # one value has no deviation
        return norm.running_mean, (norm.running_var + norm.eps).sqrt()
    wide = norm.running_mean.dtype
    count = z.numel() // z.shape[1]
    mean = torch.zeros_like(norm.running_mean)
    for part in _parts(z):
        mean += part.to(wide).sum((0, 2, 3)) / count
    variance = torch.zeros_like(mean)
    for part in _parts(z):
        variance += (part.to(wide) - _map(mean)).square().sum((0, 2, 3)) / count
    momentum = norm.momentum or 0.0
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)
    return mean, (variance + norm.eps).sqrt()


def _map(channel: Tensor) -> Tensor:
    return channel[:, None, None]


def _parts(tensor: Tensor) -> Iterator[Tensor]:
    for start in range(0, len(tensor), CHUNK):
        yield tensor[start : start + CHUNK]


def pool_cells(h: Tensor, cells: int) -> Tensor:
    """What the anchors see: [B, C, H, W] -> [B, cells*cells*C], the mean over equal cells.

    A cell is ceil(H/cells) x ceil(W/cells), zeros outside the image, as in the integer step.  The
    flattened order is cell row, cell column, channel.
    """
    (down, across), (height, width) = cells_of(h.shape[2:], cells)
    padded = F.pad(h, (0, width * across - h.shape[3], 0, height * down - h.shape[2]))
    p = F.avg_pool2d(padded, (height, width))
    return p.permute(0, 2, 3, 1).flatten(1)


def _spread(error: Tensor, cells: int, shape: torch.Size) -> Tensor:
    """The gradient of `pool_cells`: [B, cells*cells*C] -> [B, C, H, W]."""
    channels, rows, columns = shape
    (down, across), (height, width) = cells_of((rows, columns), cells)
    e = error.reshape(-1, down, across, channels).permute(0, 3, 1, 2) / (height * width)
    e = e[..., None, :, None].expand(-1, -1, -1, height, -1, width)
    return e.reshape(-1, channels, down * height, across * width)[..., :rows, :columns]
