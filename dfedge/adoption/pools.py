"""Pools, means and maxima: one function is one operation, however it is written."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from dfedge.adoption.graph import Op
from dfedge.adoption.values import K, Pads, Two, Value, across
from dfedge.adoption.views import Views
from dfedge.adoption.windows import counted, inside, one_stride, unfilled
from dfedge.errors import DfedgeError
from dfedge.operations.windows import NO_PADS


class Pools(Views[K]):
    """Operations over windows of one channel."""

    @contextmanager
    def as_row(self, given: K) -> Iterator[K]:
        """A vector a channel, [C, T], as a map of one row, while the operation at work is
        translated; its result is such a vector again.
        """
        dims = self.settled(given).dims
        if len(dims) != 2 or dims[0] != self.shape(given)[0]:
            raise self.refusal(f"{self.site.what} of {list(dims)}", "a vector a channel, [B, C, T]")
        self.reshape(given, (dims[0], 1, dims[1]))
        yield self.key
        channels, height, width = self.dims(self.key)
        self.reshape(self.key, (channels, height * width))

    def pad(self, given: K, pads: Pads) -> None:
        """Zeros around a map: a convolution that hands on what it sees."""
        if self.turned(given):
            self.turn(given)
            self.pad(self.key, across(pads))
            self.turn(self.key)
            return
        channels, height, width = self.map(given)
        if min(pads) < 0:
            raise self.refusal(f"{self.site.what} with negative pads", "pads from 0 up")
        sides = counted((height, width), (1, 1), (1, 1), pads)
        self.add("conv", [given], (channels, *sides), weight=torch.ones(channels, 1, 1, 1),
                  bias=torch.zeros(channels), pads=pads, groups=channels)  # fmt: skip

    def pool(
        self,
        op: Op,
        given: K,
        kernel: Two,
        stride: Two,
        pads: Pads,
        dilation: Two,
        ceil: bool,
        zeros: bool = False,
    ) -> None:
        """Average ("mean") and max pools.

        Args:
            ceil: a last window that is not full counts.
            zeros: padding counts in a mean, as zeros.
        """
        if self.turned(given):
            self.turn(given)
            self.pool(op, self.key, kernel[::-1], stride[::-1], across(pads), dilation[::-1], ceil,
                      zeros)  # fmt: skip
            self.turn(self.key)
            return
        channels, height, width = self.map(given)
        if any(apart > 1 and side > 1 for apart, side in zip(dilation, kernel, strict=True)):
            raise self.refusal("a pool with dilation", "a pool without")
        if any(pad >= kernel[i // 2] for i, pad in enumerate(pads)):
            raise self.refusal("a pool with windows that see padding alone", "less padding")
        filled = op == "mean" and zeros and any(pads)
        if ceil:
            below = unfilled(height, kernel[0], stride[0], pads[:2])
            right = unfilled(width, kernel[1], stride[1], pads[2:])
            if filled and (below or right):
                raise self.refusal(
                    "average pool with ceil_mode that counts its padding", "full windows"
                )
            pads = (pads[0], pads[1] + below, pads[2], pads[3] + right)
        if filled:
            self._with_zeros(given, kernel, stride, pads)
            return
        sides = counted((height, width), kernel, stride, pads)
        kernel, pads = inside((height, width), kernel, stride, pads)
        self.add(op, [given], (channels, *sides), kernel=kernel, pads=pads,
                 stride=one_stride((height, width), kernel, stride, pads))  # fmt: skip

    def _with_zeros(self, given: K, kernel: Two, stride: Two, pads: Pads) -> None:
        """A mean that counts its padding is a convolution."""
        channels, *rest = self.map(given)
        size = (rest[0], rest[1])
        self.check_shape((channels, *kernel))
        weight = torch.full((channels, 1, *kernel), 1 / math.prod(kernel))
        self.add("conv", [given], (channels, *counted(size, kernel, stride, pads)), weight=weight,
                 bias=torch.zeros(channels), kernel=kernel, pads=pads, groups=channels,
                 stride=one_stride(size, kernel, stride, pads))  # fmt: skip

    def upsampled(self, given: K, sides: Two, centred: bool) -> None:
        """Bilinear upsampling by whole factors: each number repeated, then a mean over windows.

        Args:
            sides: of the result.
            centred: a pixel's middle stays where it is; else its first corner.
        """
        if self.turned(given):
            self.turn(given)
            self.upsampled(self.key, sides[::-1], centred)
            self.turn(self.key)
            return
        made, (channels, *before) = self.key, self.map(given)
        places, taps = [], []
        for side, after in zip(before, sides, strict=True):
            factor = after // side
            if factor * side != after:
                what = f"{self.site.what} from {before} to {list(sides)}"
                raise self.refusal(what, "whole factors, or nearest")
            even = centred and factor % 2 == 0
            tap = torch.ones(factor + even)
            if even:
                tap[0] = tap[-1] = 0.5
            first = -(len(tap) // 2) if centred else 0
            around = torch.arange(first, first + after + len(tap) - 1) // factor
            places.append(tuple(around.clamp(0, side - 1).tolist()))
            taps.append(tap / factor)
        rows, columns = places
        self.check_shape((channels, len(rows), len(columns)))
        self.add("gather", [given], (channels, len(rows), len(columns)), rows=rows, columns=columns)
        weight = torch.outer(*taps).expand(channels, 1, -1, -1).clone()
        self.add("conv", [made], (channels, *sides), weight=weight, bias=torch.zeros(channels),
                 kernel=(len(taps[0]), len(taps[1])), groups=channels)  # fmt: skip

    def adaptive(self, op: Op, given: K, sides: Two) -> None:
        """A pool to a size, where windows are equal and do not overlap."""
        if self.turned(given):
            self.turn(given)
            self.adaptive(op, self.key, sides[::-1])
            self.turn(self.key)
            return
        _, height, width = self.map(given)
        if sides == (height, width):
            self.same(given)
            return
        kernel = height // sides[0], width // sides[1]
        if (kernel[0] * sides[0], kernel[1] * sides[1]) != (height, width):
            raise self.refusal(
                f"adaptive pool from {height} x {width} to {sides[0]} x {sides[1]}",
                "to 1, or to sides that divide the map's: other image sizes may",
            )
        self.pool(op, given, kernel, kernel, NO_PADS, (1, 1), ceil=False)

    def reduce(self, op: Op, given: K, axes: Sequence[int], keep: bool) -> None:
        """The mean or the maximum over the image, or over its rows or columns alone.

        Args:
            axes: counted with the batch; from the end where they are negative.
            keep: they stay, as sides of one.
        """
        dims = self.value(given).dims
        over = sorted({int(axis) % (1 + len(dims)) - 1 for axis in axes})
        kept = tuple(
            1 if i in over else side for i, side in enumerate(dims) if keep or i not in over
        )
        if -1 in over or not over:
            raise self._not_over(op, axes)
        if op == "mean" and over == [0] and self.loose(given).dims == self.shape(given):
            channels, *sides = dims
            weight = torch.full((1, channels, 1, 1), 1 / channels)
            self.add("conv", [given], (1, sides[0], sides[1]), kept, weight=weight,
                     bias=torch.zeros(1))  # fmt: skip
            return
        found, places = self.reduced(given, over), None
        if found is None:
            if op == "mean" and math.prod(kept) == 1 and self.shape(given)[1:] == (1, 1):
                self._over_all(given, kept)
                return
            if self.settled(given).dims != self.shape(given) or 0 in over:
                raise self._not_over(op, axes)
            kernel = (dims[1] if 1 in over else 1, dims[2] if 2 in over else 1)
            self.pool(op, given, kernel, kernel, NO_PADS, (1, 1), ceil=False)
        else:
            channels, height, width = self.shape(given)
            self.add(op, [given], (channels, 1, 1), kernel=(height, width),
                     stride=max(height, width))  # fmt: skip
            if found != tuple(range(channels)):
                places = torch.tensor(found, dtype=torch.int32).reshape(kept)
        self.values[self.key] = Value(self.values[self.key].number, kept, places, self.site)

    def _over_all(self, given: K, dims: tuple[int, ...]) -> None:
        """The mean of a vector is a linear layer."""
        value, channels = self.loose(given), self.shape(given)[0]
        if value.places is not None:
            raise self.misplaced(value)
        weight = torch.full((1, channels, 1, 1), 1 / channels)
        self.add("conv", [given], (1, 1, 1), dims, weight=weight, bias=torch.zeros(1))

    def _not_over(self, op: Op, axes: Sequence[int]) -> DfedgeError:
        what = f"{'mean' if op == 'mean' else 'maximum'} over axes {list(axes)}"
        return self.refusal(what, "over height and width")
