"""A plan's layers in float32: convolutions, shortcuts, pools; what no plan has of its own is drawn.

Batch normalisation is folded as in the integer program, so whoever trains these is spared its cost.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfedge.maps import cells_of, pool_window
from dfedge.plan import Conv, Layer


class FloatConv(nn.Module):
    """One convolution with its bias."""

    def __init__(
        self,
        channels: tuple[int, int],
        kernel: tuple[int, int],
        strides: tuple[int, int],
        pads: tuple[int, int, int, int],
        groups: int,
    ) -> None:
        super().__init__()
        top, bottom, left, right = pads
        self.even = top == bottom and left == right
        self.pads = [left, right, top, bottom]
        padding = (top, left) if self.even else (0, 0)
        self.inner = nn.Conv2d(*channels, kernel, strides, padding, groups=groups)

    @staticmethod
    def of(conv: Conv) -> "FloatConv":
        """Of a layer that learns."""
        channels, strides = (conv.in_channels, conv.channels), (conv.stride, conv.stride)
        groups = conv.in_channels if conv.depthwise else 1
        return FloatConv(channels, conv.kernel, strides, conv.pads, groups)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, C, H, W] -> [B, O, H', W']."""
        result: Tensor = self.inner(x if self.even else F.pad(x, self.pads))
        return result


class FloatLayer(nn.Module):
    """One layer, and what it hands on.

    Args:
        pooled: that is the mean over its cells in any case, as one position.
    """

    def __init__(self, layer: Layer, pooled: bool) -> None:
        super().__init__()
        self.residual, self.chain = layer.join is not None, layer.chain
        self.convs = nn.ModuleList(map(FloatConv.of, layer.convs))
        self.pooled, self.pool = pooled or layer.mean, layer.pool
        self.cells, self.shape = layer.cells, layer.ends.output

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, C, H, W] -> [B, O, H', W']; pooled: [B, cells * cells * O, 1, 1]."""
        skip = self.convs[self.chain](x) if len(self.convs) > self.chain else x
        for conv in self.convs[: self.chain - 1]:
            x = F.relu(conv(x))
        x = self.convs[self.chain - 1](x)
        x = F.relu(x + skip if self.residual else x)
        if self.pooled:
            return self._cell_means(x)
        return F.max_pool2d(x, pool_window(self.shape[:2])) if self.pool else x

    def _cell_means(self, h: Tensor) -> Tensor:
        rows, cols, channels = self.shape  # numbers, where a tracer would see h.shape as tensors
        (down, across), (height, width) = cells_of((rows, cols), self.cells)
        # Zeros joined on: ExecuTorch refuses the backward of pad and lacks that of avg_pool2d.
        if height * down > rows:
            h = torch.cat([h, 0 * h[:, :, : height * down - rows]], 2)
        if width * across > cols:
            h = torch.cat([h, 0 * h[..., : width * across - cols]], 3)
        parts = h.reshape(-1, channels, down, height, across, width)
        return parts.mean((3, 5)).reshape(-1, channels * down * across, 1, 1)
