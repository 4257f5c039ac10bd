"""The stock rendering a tile at a time, for a runtime that plans one arena: the same bits.

Whole maps exist as int8 only.  Products, float32 copies and int32 sums exist for one tile: a few
rows of one sample, or a few small samples.  A convolution adds up the rows of its kernel one after
the other.  An update goes through its weights in blocks; a block is summed over all tiles, rounded
(the dither's phase says where in the tensor it lies) and narrowed before the next one begins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from dfedge.dither import LATTICE
from dfedge.int8.ops.convolution import groups_of
from dfedge.int8.ops.trunk import record_of
from dfedge.int8.ops.values import WEIGHT_MAX
from dfedge.int8.stock import convolution, pooling, trunk, update
from dfedge.int8.stock.primitives import I8, I32, matmul_i32, matmul_signed
from dfedge.int8.stock.tiles import (
    KernelTile,
    Tile,
    cat,
    columns,
    joined,
    output,
    row_bytes,
    sliced,
    tiles,
)
from dfedge.maps import cells_of
from dfedge.operations import Convolution

FLOORS = (1 << 20, 128 * 1024, 32 * 1024, 8 * 1024, 0)
"""Sizes of tiles, `Tiled.floor`: the smaller, the less memory and the more operators.  The largest
is for a host, where an export's time counts for more."""
SUM_BYTES = 24
"""Of one weight while its block is rounded: about six int32."""
WIDE_BYTES = 16
"""Of one value of a map while an operation holds it as int32."""

ErrorOf = Callable[[Tile], Tensor]
"""The error at a tile's outputs, int8 [b, r, W, O]."""


def error_of(error: Tensor, h: Tensor, cells: int) -> ErrorOf:
    """`pooling.spread` for any tile: products of int8 and 0 or 1 stay int8."""
    (down, across), (height, width) = cells_of(h.shape[1:3], cells)

    def of(tile: Tile) -> Tensor:
        first, last = tile.r0 // height, -(-tile.r1 // height)
        rows, count, channels = last - first, tile.b1 - tile.b0, h.shape[3]
        e = sliced(
            sliced(error.reshape(-1, down, across, channels), 0, tile.b0, tile.b1), 1, first, last
        )
        e = e.reshape(count, rows, 1, across, 1, channels)
        e = e.expand(count, rows, height, across, width, channels)
        e = e.reshape(count, rows * height, across * width, channels)
        e = sliced(
            sliced(e, 1, tile.r0 - first * height, tile.r1 - first * height), 2, 0, h.shape[2]
        )
        return e * tile.of(h).clamp(0, 1)

    return of


def _correlated(
    x: Tensor, error: ErrorOf, group: list[KernelTile], cut: list[Tile], geometry: Sequence[int]
) -> list[Tensor | None]:
    """Of each block its correlation with the error, int32 [O, kw*C]; None: it sees only zeros."""
    totals: list[Tensor | None] = [None] * len(group)
    for tile in cut:
        e = error(tile)
        turned = e.reshape(-1, e.shape[3]).transpose(0, 1)
        for n, block in enumerate(group):
            seen = columns(sliced(x, 3, block.c0, block.c1), tile, block.row, geometry)
            if seen is not None:
                part, total = matmul_signed(turned, seen), totals[n]
                totals[n] = part if total is None else total + part
    return totals


class TiledOperations(trunk.Stock):
    """Operations whose convolutions are made a tile at a time."""

    def __init__(self, convolve: Callable[..., Tensor]) -> None:
        self._convolve = convolve

    def convolve(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        geometry: Sequence[int],
        end: Callable[[Tensor], Tensor],
    ) -> Tensor:
        return self._convolve(x, weight, geometry, matmul_i32, lambda total: end(total + bias))


@dataclass(frozen=True)
class Tiled:
    """The rendering.

    Attributes:
        floor: bytes of temporaries that a tile may have beyond those alive beside it.
    """

    floor: int = FLOORS[0]

    def _allowed(self, *alive: int) -> int:
        """Temporaries may weigh as much as the int8 tensors alive beside them, and the floor."""
        return self.floor + sum(alive)

    def _convolve(
        self,
        x: Tensor,
        w: Tensor,
        geometry: Sequence[int],
        multiply: Callable[[Tensor, Tensor], Tensor],
        finish: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """``finish(conv(x, w))``, of int32 accumulators [positions, O]."""
        (height, width), (kh, kw), out = output(x, geometry), geometry[:2], w.shape[2]
        made = []
        row = row_bytes(x.shape[3], out, width, kw)
        allowed = self._allowed(x.numel(), len(x) * height * width * out)
        for tile in tiles(len(x), height, row, allowed):
            total = None
            for i in range(kh):
                seen = columns(x, tile, i, geometry)
                if seen is None:
                    continue
                row_of_w = sliced(w, 0, i * kw, (i + 1) * kw)
                part = convolution.product(seen, row_of_w, groups_of(w, geometry), multiply)
                total = part if total is None else total + part
            shape = tile.b1 - tile.b0, tile.r1 - tile.r0, width, out
            if total is None:
                total = torch.zeros((shape[0] * shape[1] * width, out), dtype=I32)
            made.append(finish(total).reshape(shape))
        return joined(made, height)

    def by_samples(self, op: Callable[..., Tensor], maps: int) -> Callable[..., Tensor]:
        """An operation that treats every sample alike, on a few samples at a time.

        Args:
            maps: how many of its first arguments have a row for each sample.
        """

        def tiled(*args: Any) -> Tensor:
            given, rest = args[:maps], args[maps:]
            largest = max(a.numel() for a in given)
            step = max(1, len(given[0]) * self._allowed(2 * largest) // (WIDE_BYTES * largest))
            if step >= len(given[0]):
                return op(*args)
            starts = range(0, len(given[0]), step)
            made = [op(*(sliced(a, 0, b, b + step) for a in given), *rest) for b in starts]
            return torch.cat(made)

        return tiled

    def conv_sum(self, x: Tensor, w: Tensor, b: Tensor, geometry: Sequence[int]) -> Tensor:
        if geometry[7]:
            return self.by_samples(convolution.conv_sum, 1)(x, w, b, geometry)
        return self._convolve(x, w, geometry, matmul_i32, lambda total: total + b)

    def conv_relu(
        self, x: Tensor, w: Tensor, b: Tensor, shift: int, geometry: Sequence[int]
    ) -> Tensor:
        if geometry[7]:
            return self.by_samples(convolution.conv_relu, 1)(x, w, b, shift, geometry)
        finish = convolution.activation
        return self._convolve(x, w, geometry, matmul_i32, lambda total: finish(total + b, shift))

    def operation(
        self, record: str, given: Sequence[Tensor], constants: Sequence[Tensor]
    ) -> Tensor:
        found = record_of(record)
        if isinstance(found, Convolution) and not found.depthwise:
            tiled = TiledOperations(self._convolve)
            return cast(Tensor, found.evaluate(tiled, list(given), list(constants)))
        if not found.wide_values and not isinstance(found, Convolution):
            return trunk.operation(record, given, constants)

        def whole(*parts: Tensor) -> Tensor:
            return trunk.operation(record, parts, constants)

        return self.by_samples(whole, len(given))(*given)

    def conv_back(
        self, e: Tensor, w: Tensor, geometry: Sequence[int], height: int, width: int
    ) -> Tensor:
        if geometry[7]:
            return self.by_samples(convolution.conv_back, 1)(e, w, geometry, height, width)
        e = convolution.surrounded(e, geometry, height, width)
        mirrored = torch.cat([w[t : t + 1] for t in reversed(range(len(w)))]).transpose(1, 2)
        plain = [*geometry[:2], 1, 0, 0, 0, 0, 0]
        return self._convolve(e, mirrored, plain, matmul_signed, lambda total: total)

    def spread(self, error: Tensor, h: Tensor, cells: int) -> Tensor:
        whole = Tile(0, len(h), 0, h.shape[1])
        return error_of(error, h, cells)(whole)

    def conv_update(
        self, x: Tensor, e: Tensor, w: Tensor, shift: Tensor, phase: Tensor, geometry: Sequence[int]
    ) -> Tensor:
        return self._updated(x, lambda tile: tile.of(e), e.numel(), w, shift, phase, geometry)

    def conv_update_pooled(
        self, x: Tensor, error: Tensor, h: Tensor, cells: int, w: Tensor, shift: Tensor,
        phase: Tensor, geometry: Sequence[int],
    ) -> Tensor:  # fmt: skip
        return self._updated(x, error_of(error, h, cells), h.numel(), w, shift, phase, geometry)

    def _updated(
        self,
        x: Tensor,
        error: ErrorOf,
        outputs: int,
        w: Tensor,
        shift: Tensor,
        phase: Tensor,
        geometry: Sequence[int],
    ) -> Tensor:
        (height, width), (kh, kw), channels = output(x, geometry), geometry[:2], w.shape[1]
        if geometry[7]:
            return self._updated_depthwise(x, error, height, w, shift, phase, geometry)
        out, allowed = w.shape[2], self._allowed(x.numel(), outputs)
        step = min(max(max(2 * allowed, w.numel()) // (SUM_BYTES * kw * out), 1), channels)
        cut = tiles(len(x), height, row_bytes(step, out, width, kw), allowed)
        blocks = [
            KernelTile(i, c, min(c + step, channels))
            for i in range(kh)
            for c in range(0, channels, step)
        ]
        together = max(allowed // (4 * kw * step * out), 1)
        made: list[Tensor] = []
        for first in range(0, len(blocks), together):
            group = blocks[first : first + together]
            totals = _correlated(x, error, group, cut, geometry)
            for block, total in zip(group, totals, strict=True):
                old = block.of(w, kw)
                if total is None:
                    made.append(old)
                    continue
                v = total.transpose(0, 1).reshape(old.shape)
                at = phase + (LATTICE[0] * block.row * kw + LATTICE[1] * block.c0)
                moved = update.scaled_round(v, shift, at)
                made.append((old.to(I32) - moved).clamp(-WEIGHT_MAX, WEIGHT_MAX).to(I8))
        each = len(made) // kh
        rows = [cat(made[i : i + each], 1) for i in range(0, len(made), each)]
        return cat(rows, 0)

    def _updated_depthwise(
        self, x: Tensor, error: ErrorOf, height: int, w: Tensor, shift: Tensor, phase: Tensor,
        geometry: Sequence[int],
    ) -> Tensor:  # fmt: skip
        total = None
        step = max(1, len(x) * self._allowed(2 * x.numel()) // (WIDE_BYTES * x.numel()))
        for b in range(0, len(x), step):
            tile = Tile(b, min(b + step, len(x)), 0, height)
            part = update.correlation(sliced(x, 0, tile.b0, tile.b1), error(tile), geometry)
            total = part if total is None else total + part
        assert total is not None
        moved = update.scaled_round(total, shift, phase)
        return (w.to(I32) - moved).clamp(-WEIGHT_MAX, WEIGHT_MAX).to(I8)

    def decompositions(self) -> dict[Any, Callable[..., Any]]:
        """Operation -> tiled rendering, for those whose maps are large."""
        ops = torch.ops.dfedge
        own = (
            self.conv_sum, self.conv_relu, self.operation, self.conv_back, self.spread,
            self.conv_update, self.conv_update_pooled,
        )  # fmt: skip
        found = {getattr(ops, one.__name__).default: one for one in own}
        wide: dict[Callable[..., Tensor], int] = {
            convolution.add_relu: 2, convolution.narrow: 1, convolution.gate: 2,
            convolution.add_errors: 2, pooling.unpool: 2, pooling.pool_cells: 1,
        }  # fmt: skip
        return found | {
            getattr(ops, one.__name__).default: self.by_samples(one, maps)
            for one, maps in wide.items()
        }
