"""What the readers share: every operation's translation from plain numbers.

A reader knows one framework's graph; it says of each operation which values and constants go in.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from dfedge.adoption.graph import Node, Op
from dfedge.adoption.values import K, Pads, Two, Value, Values

Arithmetic = Literal["add", "sub", "mul", "div"]


class Translation(Values[K]):
    """One net, an operation at a time."""

    def same(self, given: K) -> None:
        """An operation that changes no number."""
        if given in self.constants:
            self.constants[self.key] = self.constants[given]
        else:
            self.values[self.key] = self.value(given)

    def conv(
        self,
        given: K,
        weight: Tensor,
        bias: Tensor | None,
        stride: Two,
        pads: Pads,
        dilation: Two,
        groups: int,
    ) -> None:
        """Convolution; weight [O, C/groups, kh, kw], pads above, below, left, right."""
        channels, height, width = self.map(given)
        if weight.dim() != 4 or weight.shape[1] * groups != channels:
            raise self.refusal("convolution other than 2-d")
        if stride[0] != stride[1]:
            raise self.refusal(f"convolution with stride {stride}", "equal strides both ways")
        if dilation != (1, 1):
            raise self.refusal(f"convolution with dilation {dilation}", "dilation 1")
        out, _, kh, kw = weight.shape
        if groups > 1 and (groups, out) != (channels, channels):
            self.check_size(out * channels * kh * kw)  # as a whole convolution
        sides = _windows((height, width), (kh, kw), stride[0], pads)
        bias = torch.zeros(out) if bias is None else bias
        self.add("conv", [given], (out, *sides), weight=weight, bias=bias, kernel=(kh, kw),
                  stride=stride[0], pads=pads, groups=groups)  # fmt: skip

    def linear(self, given: K, weight: Tensor, bias: Tensor | None) -> None:
        """``weight x + bias`` of a vector; weight [O, I], bias [O]."""
        value, shape = self.value(given), self.shape(given)
        if weight.dim() != 2 or value.dims != (weight.shape[1],):
            raise self.refusal("linear over one axis of a map", "flatten before it")
        bias = torch.zeros(len(weight)) if bias is None else bias
        self.add("conv", [given], (len(weight), 1, 1), (len(weight),),
                  weight=weight.reshape(-1, *shape), bias=bias, kernel=shape[1:])  # fmt: skip

    def norm(
        self,
        given: K,
        gamma: Tensor | None,
        beta: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        eps: float,
    ) -> None:
        """Batch norm in evaluation, [C] each."""
        factor = torch.rsqrt(variance + eps)
        factor = factor if gamma is None else factor * gamma
        shift = -mean * factor
        self._affine(given, factor, shift if beta is None else shift + beta)

    def _affine(self, given: K, weight: Tensor, bias: Tensor) -> None:
        value, shape = self.value(given), self.shape(given)
        if value.dims[0] != shape[0]:
            raise self.refusal(f"{self.site.what} of a flattened map", "it before flatten")
        self.add("affine", [given], shape, value.dims, weight=weight, bias=bias)

    def clip(self, given: K, slope: float, lift: float, low: float, high: float) -> None:
        """A straight line between two bounds."""
        self.add("clip", [given], self.shape(given), self.value(given).dims, slope=slope,
                  lift=lift, bounds=(low, high))  # fmt: skip

    def function(self, given: K, function: Callable[[Tensor], Tensor]) -> None:
        """A function of one value, the same for every value."""
        self.add("function", [given], self.shape(given), self.value(given).dims,
                  function=function)  # fmt: skip

    def softmax(self, given: K, axis: int) -> None:
        """A softmax, or its logarithm, over the scores: nothing may follow it.

        Args:
            axis: counted with the batch; from the end where it is negative.
        """
        value = self.value(given)
        if self.shape(given)[1:] != (1, 1):
            raise self.refusal()
        if axis % (len(value.dims) + 1) != 1:
            raise self.refusal(f"{self.site.what} over axis {axis}", "over the scores, as the last")
        self.values[self.key], self.finished[self.key] = value, self.site

    def leaky(self, given: K, slope: Tensor) -> None:
        """``max(0, x) + slope min(0, x)``, one slope or one a channel."""
        if slope.numel() == 1:
            number = float(slope)
            self.function(given, lambda x: x.clamp(min=0) + number * x.clamp(max=0))
            return
        channels = self.shape(given)[0]
        if slope.numel() != channels or slope.shape[:1] not in ((1,), (channels,)):
            what = f"{self.site.what} with slopes {list(slope.shape)}"
            raise self.refusal(what, "one number, or one a channel")
        made = self.key
        self.clip(given, 1, 0, 0, math.inf)
        above = self.values[made]
        self.clip(given, 1, 0, -math.inf, 0)
        self._affine(made, slope.flatten(), torch.zeros(channels))
        below = self.values[made]
        node = Node("add", self.site.name, (above.number, below.number), self.shape(given),
                    where=self.site.line)  # fmt: skip
        self.nodes.append(node)
        self.values[made] = replace(above, number=len(self.nodes) - 1)

    def combine(self, op: Arithmetic, a: K, b: K) -> None:
        """Two values: equal shapes, or in a product one side with one number a channel.

        A difference is a sum with the negative, a quotient a product with the reciprocal.
        """
        if op in ("sub", "div"):
            if op == "sub":
                ones = torch.ones(self.shape(b)[0])
                self._affine(b, -ones, 0 * ones)
            else:
                self.function(b, torch.reciprocal)
            b = self.key
        product = op in ("mul", "div")
        if product and math.prod(self.shape(a)) < math.prod(self.shape(b)):
            a, b = b, a
        one, other = self.value(a).dims, self.value(b).dims
        gated = product and len(one) == 3 and other == (one[0], 1, 1)
        if not gated and (one != other or self.shape(a) != self.shape(b)):
            raise self.refusal(f"{op} of {list(one)} and {list(other)}", "equal shapes")
        self.add("mul" if product else "add", [a, b], self.shape(a), one)

    def with_constant(self, op: Arithmetic, given: K, constant: Tensor, swapped: bool) -> None:
        """A value and a constant; ``swapped``: the constant stands on the left."""
        dims, channels = self.value(given).dims, self.shape(given)[0]
        missing = 1 + len(dims) - constant.dim()
        broadcast = (1,) * missing + tuple(constant.shape)
        allowed = [(1,) * (1 + len(dims)), (1, channels, *(1 for _ in dims[1:]))]
        if missing < 0 or broadcast not in allowed:
            what = f"{op} with a constant {list(constant.shape)}"
            raise self.refusal(what, "one number, or one a channel")
        value = self.real(constant).flatten()
        one, none = torch.ones_like(value), torch.zeros_like(value)
        match op, swapped:
            case "add", _:
                weight, bias = one, value
            case "sub", False:
                weight, bias = one, -value
            case "sub", True:
                weight, bias = -one, value
            case "mul", _:
                weight, bias = value, none
            case "div", False:
                weight, bias = 1 / value, none
            case _:
                raise self.refusal(f"a constant {op} a map", "multiply")
        self._affine(given, weight.expand(channels).clone(), bias.expand(channels).clone())

    def pad(self, given: K, pads: Pads) -> None:
        """Zeros around a map: a convolution that hands on what it sees."""
        channels, height, width = self.map(given)
        if min(pads) < 0:
            raise self.refusal(f"{self.site.what} with negative pads", "pads from 0 up")
        sides = _windows((height, width), (1, 1), 1, pads)
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
        channels, height, width = self.map(given)
        if stride[0] != stride[1] or dilation != (1, 1):
            raise self.refusal("a pool with unequal strides or dilation", "plain pools")
        if any(pad >= kernel[i // 2] for i, pad in enumerate(pads)):
            raise self.refusal("a pool with windows that see padding alone", "less padding")
        if ceil:
            below = _unfilled(height, kernel[0], stride[0], pads[:2])
            right = _unfilled(width, kernel[1], stride[0], pads[2:])
            if op == "mean" and (below or right):
                raise self.refusal("average pool with ceil_mode", "full windows")
            pads = (pads[0], pads[1] + below, pads[2], pads[3] + right)
        sides = _windows((height, width), kernel, stride[0], pads)
        if op == "mean" and any(pads):
            if not zeros:
                raise self.refusal(
                    "average pool with padding that does not count",
                    "average pool without padding, or count_include_pad",
                )
            self.check_shape((channels, *kernel))
            weight = torch.full((channels, 1, *kernel), 1 / math.prod(kernel))
            self.add("conv", [given], (channels, *sides), weight=weight,
                      bias=torch.zeros(channels), kernel=kernel, stride=stride[0], pads=pads,
                      groups=channels)  # fmt: skip
            return
        self.add(op, [given], (channels, *sides), kernel=kernel, stride=stride[0], pads=pads)

    def adaptive(self, op: Op, given: K, sides: Two) -> None:
        """A pool to a size, where windows are equal and do not overlap."""
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
        stride = (max(kernel), max(kernel)) if sides == (1, 1) else kernel
        self.pool(op, given, kernel, stride, (0, 0, 0, 0), (1, 1), ceil=False)

    def whole(self, given: K, keep: bool) -> None:
        """The mean over the image; ``keep``: as [C, 1, 1]."""
        channels, height, width = self.map(given)
        dims = (channels, 1, 1) if keep else (channels,)
        self.add("mean", [given], (channels, 1, 1), dims, kernel=(height, width),
                  stride=max(height, width))  # fmt: skip

    def concat(self, parts: Sequence[K], axis: int) -> None:
        """Channels side by side; ``axis`` counts the batch."""
        shapes, dims = [self.shape(part) for part in parts], [self.value(p).dims for p in parts]
        rank = 1 + len(dims[0])
        alike = len({(len(d), *s[1:]) for d, s in zip(dims, shapes, strict=True)}) == 1
        if axis % rank != 1 or not alike:
            raise self.refusal(f"concat along axis {axis}", "concat along channels")
        if any(d[0] != s[0] for d, s in zip(dims, shapes, strict=True)):
            raise self.refusal("concat of flattened maps", "concat before flatten")
        channels = sum(s[0] for s in shapes)
        self.add("concat", parts, (channels, *shapes[0][1:]), (channels, *dims[0][1:]))

    def reshape(self, given: K, out: tuple[int, ...]) -> None:
        """To a vector, or back to [C, 1, 1]; ``out`` without the batch."""
        value, shape = self.value(given), self.shape(given)
        if out not in ((math.prod(shape),), shape):
            raise self.refusal(
                f"reshape of {list(value.dims)} to {list(out)}",
                "only flatten is known; replace a channel shuffle by a 1 x 1 convolution",
            )
        self.values[self.key] = Value(value.number, out)


def _unfilled(side: int, kernel: int, stride: int, pads: Sequence[int]) -> int:
    """By how much the last window leaves the image when one that is not full counts."""
    rest = side + sum(pads) - kernel
    windows = -(-rest // stride)
    if windows * stride >= side + pads[0]:
        windows -= 1  # it would begin in the padding below
    return max(windows * stride - rest, 0)


def _windows(sides: Two, kernel: Two, stride: int, pads: Pads) -> Two:
    rows = (sides[0] + pads[0] + pads[1] - kernel[0]) // stride + 1
    return rows, (sides[1] + pads[2] + pads[3] - kernel[1]) // stride + 1
