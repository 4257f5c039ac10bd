"""How maps and weights are cut into tiles, and put together again."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dfedge.int8.ops.convolution import strides_of
from dfedge.int8.stock.convolution import columns as side_by_side


@dataclass(frozen=True)
class Tile:
    """Samples ``[b0, b1)`` of a batch and rows ``[r0, r1)`` of their maps."""

    b0: int
    b1: int
    r0: int
    r1: int

    def of(self, maps: Tensor) -> Tensor:
        """What the tile holds of [B, H, W, C]."""
        return sliced(sliced(maps, 0, self.b0, self.b1), 1, self.r0, self.r1)


@dataclass(frozen=True)
class KernelTile:
    """A row of a kernel and input channels ``[c0, c1)`` of its weights."""

    row: int
    c0: int
    c1: int

    def of(self, w: Tensor, kernel_width: int) -> Tensor:
        """What the block holds of [kh*kw, C, O]."""
        rows = sliced(w, 0, self.row * kernel_width, (self.row + 1) * kernel_width)
        return sliced(rows, 1, self.c0, self.c1)


def tiles(batch: int, rows: int, row_bytes: int, allowed: int) -> list[Tile]:
    """Cut ``batch`` maps of ``rows`` rows so that a tile's temporaries stay within ``allowed``.

    One row of one sample is the least.
    """
    samples = allowed // (rows * row_bytes)
    if samples:
        return [Tile(b, min(b + samples, batch), 0, rows) for b in range(0, batch, samples)]
    step = max(allowed // row_bytes, 1)
    return [
        Tile(b, b + 1, r, min(r + step, rows)) for b in range(batch) for r in range(0, rows, step)
    ]


def sliced(x: Tensor, dim: int, first: int, end: int, step: int = 1) -> Tensor:
    """A slice, or x itself where that is all of it: a slice is a copy."""
    if (first, step) == (0, 1) and end >= x.shape[dim]:
        return x
    return x[(slice(None),) * dim + (slice(first, end, step),)]


def cat(parts: list[Tensor], dim: int) -> Tensor:
    return torch.cat(parts, dim) if len(parts) > 1 else parts[0]


def output(x: Tensor, geometry: Sequence[int]) -> tuple[int, int]:
    kh, kw, down, top, bottom, left, right = geometry[:7]
    height = (x.shape[1] + top + bottom - kh) // down + 1
    return height, (x.shape[2] + left + right - kw) // strides_of(geometry)[1] + 1


def row_bytes(channels: int, out: int, width: int, kernel_width: int) -> int:
    """Of one row of outputs: its columns as int8 and as float32, and two sums of four bytes."""
    return width * (5 * kernel_width * channels + 8 * out)


def columns(x: Tensor, tile: Tile, i: int, geometry: Sequence[int]) -> Tensor | None:
    """What row i of the kernel sees for a tile's outputs: int8 [positions, kw*C]; None: zeros."""
    kw, top, (left, right), (down, across) = (
        geometry[1], geometry[3], geometry[5:7], strides_of(geometry),
    )  # fmt: skip
    first = tile.r0 * down - top + i
    rows = range(first, first + (tile.r1 - tile.r0) * down, down)
    inside = [row for row in rows if 0 <= row < x.shape[1]]
    if not inside:
        return None
    seen = sliced(sliced(x, 0, tile.b0, tile.b1), 1, inside[0], inside[-1] + 1, down)
    above, below = (inside[0] - first) // down, (rows[-1] - inside[-1]) // down
    if any((left, right, above, below)):
        seen = F.pad(seen, (0, 0, left, right, above, below))
    width = (seen.shape[2] - kw) // across * across + 1
    return side_by_side([sliced(seen, 2, j, j + width, across) for j in range(kw)])


def joined(made: list[Tensor], height: int) -> Tensor:
    """Tiles in their order as maps of ``height`` rows."""
    if len(made) == 1:
        return made[0]
    if made[0].shape[1] == height:
        return torch.cat(made)
    rows = torch.cat([tile.reshape(-1, *tile.shape[2:]) for tile in made])
    return rows.reshape(-1, height, *rows.shape[1:])
