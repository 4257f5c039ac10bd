"""Pools, and errors spread back over them."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from dfedge.int8.ops.convolution import nchw, nhwc
from dfedge.int8.ops.values import ACTIVATION_MAX
from dfedge.maps import cell_grid, cells_of, pool_window, pooled


@custom_op("dfedge::max_pool", mutates_args=())
def max_pool(x: Tensor) -> Tensor:
    """2 x 2 maximum with stride 2, an odd last row or column left out: int8 [B, H//2, W//2, C].

    Of maps that are a line, along the line.
    """
    return nhwc(F.max_pool2d(nchw(x), pool_window(x.shape[1:3])), torch.int8)


@max_pool.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty((x.shape[0], *pooled(x.shape[1:3]), x.shape[3]))


@custom_op("dfedge::unpool", mutates_args=())
def unpool(e: Tensor, h: Tensor) -> Tensor:
    """An error at `max_pool`'s output, at every position that held the maximum: int8 like h.

    All equals of a window receive it; rows and columns that the pool leaves out receive zero.
    """
    down, across = pool_window(h.shape[1:3])
    top = max_pool(h).repeat_interleave(down, 1).repeat_interleave(across, 2)
    wide = e.repeat_interleave(down, 1).repeat_interleave(across, 2)
    held = wide * (h[:, : top.shape[1], : top.shape[2]] == top)
    return F.pad(held, (0, 0, 0, h.shape[2] - top.shape[2], 0, h.shape[1] - top.shape[1]))


@unpool.register_fake
def _(e: Tensor, h: Tensor) -> Tensor:
    return torch.empty_like(h)


@custom_op("dfedge::pool_cells", mutates_args=())
def pool_cells(x: Tensor, cells: int, gain: int) -> Tensor:
    """Mean over ``cells x cells`` equal cells, times 2^gain: int8 [B, cells*cells*C].

    A cell is ceil(H/cells) x ceil(W/cells), and one where an axis has one position (`dfedge.maps`);
    what lies outside the map counts as zero, so every cell divides by the same n:
    ``min(127, (2^gain 2 sum + n) // (2 n))``.
    """
    (down, across), (height, width) = cells_of(x.shape[1:3], cells)
    padded = F.pad(nchw(x), (0, width * across - x.shape[2], 0, height * down - x.shape[1]))
    total = F.avg_pool2d(padded, (height, width), divisor_override=1)
    n = height * width
    mean = torch.floor((total * 2 ** (gain + 1) + n) / (2 * n))  # exact: operands below 2^53
    return nhwc(mean.clamp(max=ACTIVATION_MAX), torch.int8).reshape(x.shape[0], -1)


@pool_cells.register_fake
def _(x: Tensor, cells: int, gain: int) -> Tensor:
    down, across = cell_grid(x.shape[1:3], cells)
    return x.new_empty((x.shape[0], down * across * x.shape[3]))


@custom_op("dfedge::spread", mutates_args=())
def spread(error: Tensor, h: Tensor, cells: int) -> Tensor:
    """The error of `pool_cells`'s output [B, d] at each position where h > 0: int8 like h.

    All positions of a cell receive the same; the mean's 1/n is part of the update's rate.
    """
    (down, across), (height, width) = cells_of(h.shape[1:3], cells)
    e = error.reshape(h.shape[0], down, across, h.shape[3])
    e = e.repeat_interleave(height, 1).repeat_interleave(width, 2)
    return e[:, : h.shape[1], : h.shape[2]] * (h > 0)


@spread.register_fake
def _(error: Tensor, h: Tensor, cells: int) -> Tensor:
    return torch.empty_like(h)
