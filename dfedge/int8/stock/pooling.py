"""As `dfedge.int8.ops.pooling`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dfedge.int8.ops.values import ACTIVATION_MAX
from dfedge.int8.stock.primitives import I8, I32


def max_pool(x: Tensor) -> Tensor:
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    rows = torch.maximum(x[:, 0:height:2], x[:, 1:height:2])
    return torch.maximum(rows[:, :, 0:width:2], rows[:, :, 1:width:2])


def unpool(e: Tensor, h: Tensor) -> Tensor:
    batch, rows, cols, channels = e.shape
    height, width = h.shape[1:3]
    four = h[:, : rows * 2, : cols * 2].reshape(batch, rows, 2, cols, 2, channels).to(I32)
    top = four.amax((2, 4), keepdim=True)
    held = (four == top).to(I32) * e.reshape(batch, rows, 1, cols, 1, channels).to(I32)
    held = held.reshape(batch, rows * 2, cols * 2, channels).to(I8)
    if (rows * 2, cols * 2) != (height, width):
        held = F.pad(held, (0, 0, 0, width - cols * 2, 0, height - rows * 2))
    return held


def pool_cells(x: Tensor, cells: int, gain: int) -> Tensor:
    batch, channels = x.shape[0], x.shape[3]
    height, width = (-(-n // cells) for n in x.shape[1:3])
    padded = F.pad(x, (0, 0, 0, width * cells - x.shape[2], 0, height * cells - x.shape[1]))
    parts = padded.reshape(batch, cells, height, cells, width, channels).to(I32)
    total = parts.sum((2, 4), dtype=I32)
    n = height * width
    # Half a unit above the integer, so that no rounding of the quotient can cross it.
    mean = torch.floor((total * (2 << gain) + n).to(torch.float32).add(0.5) * (1.0 / (2 * n)))
    return mean.to(I32).clamp(max=ACTIVATION_MAX).to(I8).reshape(batch, cells * cells * channels)


def spread(error: Tensor, h: Tensor, cells: int) -> Tensor:
    batch, rows, cols, channels = h.shape
    height, width = (-(-n // cells) for n in (rows, cols))
    e = error.reshape(batch, cells, 1, cells, 1, channels)
    e = e.expand(batch, cells, height, cells, width, channels)
    e = e.reshape(batch, cells * height, cells * width, channels)[:, :rows, :cols]
    return (e.to(I32) * (h > 0).to(I32)).to(I8)
