"""As `dfedge.int8.ops.pooling`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dfedge.int8.ops.values import ACTIVATION_MAX
from dfedge.int8.stock.primitives import I8, I32
from dfedge.maps import cells_of, pool_window


def max_pool(x: Tensor) -> Tensor:
    down, across = pool_window(x.shape[1:3])
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    if down > 1:
        x = torch.maximum(x[:, 0:height:2], x[:, 1:height:2])
    return torch.maximum(x[:, :, 0:width:2], x[:, :, 1:width:2]) if across > 1 else x


def unpool(e: Tensor, h: Tensor) -> Tensor:
    batch, rows, cols, channels = e.shape
    height, width = h.shape[1:3]
    down, across = pool_window((height, width))
    tall, broad = rows * down, cols * across
    four = h[:, :tall, :broad].reshape(batch, rows, down, cols, across, channels).to(I32)
    top = four.amax((2, 4), keepdim=True)
    held = (four == top).to(I32) * e.reshape(batch, rows, 1, cols, 1, channels).to(I32)
    held = held.reshape(batch, tall, broad, channels).to(I8)
    if (tall, broad) != (height, width):
        held = F.pad(held, (0, 0, 0, width - broad, 0, height - tall))
    return held


def pool_cells(x: Tensor, cells: int, gain: int) -> Tensor:
    batch, channels = x.shape[0], x.shape[3]
    (down, across), (height, width) = cells_of(x.shape[1:3], cells)
    padded = F.pad(x, (0, 0, 0, width * across - x.shape[2], 0, height * down - x.shape[1]))
    parts = padded.reshape(batch, down, height, across, width, channels).to(I32)
    total = parts.sum((2, 4), dtype=I32)
    n = height * width
    # Half a unit above the integer, so that no rounding of the quotient can cross it.
    mean = torch.floor((total * (2 << gain) + n).to(torch.float32).add(0.5) * (1.0 / (2 * n)))
    return mean.to(I32).clamp(max=ACTIVATION_MAX).to(I8).reshape(batch, down * across * channels)


def spread(error: Tensor, h: Tensor, cells: int) -> Tensor:
    batch, rows, cols, channels = h.shape
    (down, across), (height, width) = cells_of((rows, cols), cells)
    e = error.reshape(batch, down, 1, across, 1, channels)
    e = e.expand(batch, down, height, across, width, channels)
    e = e.reshape(batch, down * height, across * width, channels)[:, :rows, :cols]
    return (e.to(I32) * (h > 0).to(I32)).to(I8)
