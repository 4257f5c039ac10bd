"""Pools, and errors spread back over them."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from dfedge.int8.ops.convolution import nchw, nhwc
from dfedge.int8.ops.values import ACTIVATION_MAX


@custom_op("dfedge::max_pool", mutates_args=())
def max_pool(x: Tensor) -> Tensor:
    """2 x 2 maximum with stride 2, an odd last row or column left out: int8 [B, H//2, W//2, C]."""
    return nhwc(F.max_pool2d(nchw(x), 2), torch.int8)


@max_pool.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty((x.shape[0], x.shape[1] // 2, x.shape[2] // 2, x.shape[3]))


@custom_op("dfedge::unpool", mutates_args=())
def unpool(e: Tensor, h: Tensor) -> Tensor:
    """An error at `max_pool`'s output, at every position that held the maximum: int8 like h.

    All equals among the four receive it; rows and columns that the pool leaves out receive zero.
    """
    top = max_pool(h).repeat_interleave(2, 1).repeat_interleave(2, 2)
    wide = e.repeat_interleave(2, 1).repeat_interleave(2, 2)
    held = wide * (h[:, : top.shape[1], : top.shape[2]] == top)
    return F.pad(held, (0, 0, 0, h.shape[2] - top.shape[2], 0, h.shape[1] - top.shape[1]))


@unpool.register_fake
def _(e: Tensor, h: Tensor) -> Tensor:
    return torch.empty_like(h)


@custom_op("dfedge::pool_cells", mutates_args=())
def pool_cells(x: Tensor, cells: int, gain: int) -> Tensor:
    """Mean over ``cells x cells`` equal cells, times 2^gain: int8 [B, cells*cells*C].

    A cell is ceil(H/cells) x ceil(W/cells); what lies outside the image counts as zero, so every
    cell divides by the same n: ``min(127, (2^gain 2 sum + n) // (2 n))``.
    """
    height, width = (-(-n // cells) for n in x.shape[1:3])
    padded = F.pad(nchw(x), (0, width * cells - x.shape[2], 0, height * cells - x.shape[1]))
    total = F.avg_pool2d(padded, (height, width), divisor_override=1)
    n = height * width
    mean = torch.floor((total * 2 ** (gain + 1) + n) / (2 * n))  # exact: operands below 2^53
    return nhwc(mean.clamp(max=ACTIVATION_MAX), torch.int8).reshape(x.shape[0], -1)


@pool_cells.register_fake
def _(x: Tensor, cells: int, gain: int) -> Tensor:
    return x.new_empty((x.shape[0], cells * cells * x.shape[3]))


@custom_op("dfedge::spread", mutates_args=())
def spread(error: Tensor, h: Tensor, cells: int) -> Tensor:
    """The error of `pool_cells`'s output [B, d] at each position where h > 0: int8 like h.

    All positions of a cell receive the same; the mean's 1/n is part of the update's rate.
    """
    height, width = (-(-n // cells) for n in h.shape[1:3])
    e = error.reshape(h.shape[0], cells, cells, h.shape[3])
    e = e.repeat_interleave(height, 1).repeat_interleave(width, 2)
    return e[:, : h.shape[1], : h.shape[2]] * (h > 0)


@spread.register_fake
def _(error: Tensor, h: Tensor, cells: int) -> Tensor:
    return torch.empty_like(h)
