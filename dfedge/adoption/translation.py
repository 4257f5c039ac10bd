"""What the readers share: every operation's translation from plain numbers.

A reader knows one framework's graph; it says of each operation which values and constants go in.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from dfedge.adoption.direction import WHAT, Directions, unit_rows
from dfedge.adoption.graph import ForeignNode
from dfedge.adoption.pointwise import seen_alike
from dfedge.adoption.values import K, Left, Pads, Two, Value, across
from dfedge.adoption.windows import banded, counted, one_stride, spread
from dfedge.limits import MOST_TAPS

Arithmetic = Literal["add", "sub", "mul", "div"]


class Translation(Directions[K]):
    """One net, an operation at a time."""

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
        if weight.dim() == 4 and self.turned(given):
            self.turn(given)
            self.conv(self.key, weight.transpose(2, 3), bias, stride[::-1], across(pads),
                      dilation[::-1], groups)  # fmt: skip
            self.turn(self.key)
            return
        channels, height, width = self.map(given)
        if weight.dim() != 4 or weight.shape[1] * groups != channels or len(weight) % groups:
            what = f"{self.site.what} of {channels} channels by weights {list(weight.shape)}"
            raise self.refusal(what, "weights [O, C / groups, height, width], O by groups")
        out, each, *sides = weight.shape
        tall, wide = ((k - 1) * d + 1 for k, d in zip(sides, dilation, strict=True))
        if (tall, wide) != (sides[0], sides[1]) and tall * wide > MOST_TAPS:
            what = f"convolution whose dilated kernel spans {tall} x {wide}"
            raise self.refusal(what, f"at most {MOST_TAPS} positions")
        self.check_size(out * each * tall * wide)
        weight, kernel = spread(weight, dilation), (tall, wide)
        bias = torch.zeros(out) if bias is None else bias
        self.add("conv", [given], (out, *counted((height, width), kernel, stride, pads)),
                 weight=weight, bias=bias, kernel=kernel, pads=pads, groups=groups,
                 stride=one_stride((height, width), kernel, stride, pads))  # fmt: skip

    def conv_of_rows(
        self,
        given: K,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        pads: Two,
        dilation: int,
        groups: int,
    ) -> None:
        """Convolution of a vector a channel, [C, T]; weight [O, C/groups, k]."""
        with self.as_row(given) as row:
            self.conv(row, weight[:, :, None], bias, (1, stride), (0, 0, *pads), (1, dilation),
                      groups)  # fmt: skip

    def linear(self, given: K, weight: Tensor, bias: Tensor | None) -> None:
        """``weight x + bias`` of a vector; weight [O, I], bias [O]."""
        with self._linear(given, bias is None or not bool(bias.any())):
            self._through(given, weight, bias)
        left = self.finished.get(self.key)
        if left is not None:
            self.finished[self.key] = replace(left, embeds=False)

    def cosine(self, given: K, weight: Tensor, eps: float) -> None:
        """Cosines of a vector and of constant ones, weight [O, I]: no order of them depends on the
        vector's length.
        """
        made, count = self.key, math.prod(self.value(given).dims)
        self.reshape(given, (count,))
        self.linear(made, unit_rows(weight, eps), None)
        site = self.site.called(WHAT)
        self.finished[made] = Left(site, (site.what_and_where,), linear=True)

    @contextmanager
    def _linear(self, given: K, allowed: bool) -> Iterator[None]:
        """While the operation at work is translated, which may follow `Left.linear`."""
        left = self.finished.get(given)
        if left is None or not (left.linear and allowed):
            yield
            return
        del self.finished[given]
        try:
            yield
            self.finished[self.key] = left
        finally:
            self.finished[given] = left

    def _through(self, given: K, weight: Tensor, bias: Tensor | None) -> None:
        value, shape = self.loose(given), self.shape(given)
        dims = value.dims
        if weight.dim() != 2 or (math.prod(dims), dims[-1]) != (weight.shape[1], weight.shape[1]):
            raise self.refusal("linear over one axis of a map", "flatten before it")
        bias, out = torch.zeros(len(weight)) if bias is None else bias, len(weight)
        if value.places is not None:
            self.check_size(out * math.prod(shape))
            own = weight.new_zeros(out, math.prod(shape))
            weight = own.index_add_(1, value.places.flatten().long(), weight)
        self.add("conv", [given], (out, 1, 1), (*dims[:-1], out),
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
        value, shape = self.settled(given), self.shape(given)
        if value.dims[0] != shape[0]:
            raise self.refusal(f"{self.site.what} of a flattened map", "it before flatten")
        factor = torch.rsqrt(variance + eps)
        factor = factor if gamma is None else factor * gamma
        shift = -mean * factor
        self.affine(given, factor, shift if beta is None else shift + beta)

    def softmax(self, given: K, axis: int) -> None:
        """A softmax, or its logarithm, over the scores: nothing may follow it.

        Args:
            axis: counted with the batch; from the end where it is negative.
        """
        before = self.finished.get(given)
        with self._linear(given, True):
            value, shape = self.loose(given), self.shape(given)
        if shape[1:] != (1, 1):
            raise self.refusal()
        over = axis % (len(value.dims) + 1) - 1
        if over < 0 or value.dims[over] != math.prod(value.dims):
            raise self.refusal(f"{self.site.what} over axis {axis}", "over the scores, as the last")
        said = (*(before.said if before else ()), self.site.what_and_where)
        self.values[self.key], self.finished[self.key] = value, Left(self.site, said)

    def leaky(self, given: K, slope: Tensor) -> None:
        """``max(0, x) + slope min(0, x)``, one slope or one a channel."""
        if slope.numel() == 1:
            number = float(slope)
            self.function(given, lambda x: x.clamp(min=0) + number * x.clamp(max=0))
            return
        slopes = self.by_channel(given, slope)
        if slopes is None:
            what = f"{self.site.what} with slopes {list(slope.shape)}"
            raise self.refusal(what, "one number, or one a channel")
        made = self.key
        self.clip(given, 1, 0, 0, math.inf)
        above = self.values[made]
        self.clip(given, 1, 0, -math.inf, 0)
        self.affine(made, slopes, torch.zeros(len(slopes)))
        below = self.values[made]
        self._summed(above, below)

    def _summed(self, a: Value, c: Value) -> None:
        """The sum of two values that are seen alike."""
        node = ForeignNode(
            "add",
            self.site.name,
            (a.number, c.number),
            self.nodes[a.number].shape,
            where=self.site.line,
        )
        self.nodes.append(node)
        self.values[self.key] = replace(a, number=len(self.nodes) - 1)

    def combine(self, op: Arithmetic, a: K, b: K) -> None:
        """Two values: equal shapes, or in a product one side with one number a channel.

        A difference is a sum with the negative, a quotient a product with the reciprocal.
        """
        if op in ("mul", "div") and self.directed(op, a, b):
            return
        if op in ("sub", "div"):
            if op == "sub":
                self.loose(b)
                ones = torch.ones(self.shape(b)[0])
                self.affine(b, -ones, 0 * ones)
            else:
                self.function(b, torch.reciprocal)
            b = self.key
        product = op in ("mul", "div")
        if product and math.prod(self.shape(a)) < math.prod(self.shape(b)):
            a, b = b, a
        one, other = self.loose(a), self.loose(b)
        alike = one.dims == other.dims and self.shape(a) == self.shape(b)
        gated = product and len(one.dims) == len(other.dims) > 1
        gated = gated and one.dims[0] == self.shape(a)[0] == math.prod(self.shape(b))
        gated = gated and other.dims == (one.dims[0], *(1 for _ in one.dims[1:]))
        if not gated and not alike:
            self._broadcast("mul" if product else "add", a, b)
            return
        if gated or not seen_alike(one, other):
            self.settled(a), self.settled(b)
        self.add("mul" if product else "add", [a, b], self.shape(a))
        self.as_seen(one)

    def _broadcast(self, op: Arithmetic, a: K, b: K) -> None:
        """Of two forms, the smaller repeated to the larger one."""
        large, small = (a, b) if math.prod(self.dims(a)) >= math.prod(self.dims(b)) else (b, a)
        dims, own = self.dims(large), self.dims(small)
        own = (1,) * (len(dims) - len(own)) + own
        if any(side not in (1, other) for side, other in zip(own, dims, strict=False)):
            what = f"{op} of {list(self.dims(a))} and {list(self.dims(b))}"
            raise self.refusal(what, "equal shapes, or one repeated to the other")
        places = self.places(small, 2).reshape(2, *own).expand(2, *dims)
        self.check_size(math.prod(dims))
        self.moved(small, places, 2)
        if self.loose(self.key).places is not None:
            raise self.misplaced(self.value(self.key))
        self.combine(op, large, self.key)

    def extreme_of(self, largest: bool, a: K, b: K) -> None:
        """The larger or the smaller one of two values: ``b`` and what ``a`` is above or below."""
        made = self.key
        self.combine("sub", a, b)
        low, high = (0.0, math.inf) if largest else (-math.inf, 0.0)
        self.clip(made, 1, 0, low, high)
        self.combine("add", made, b)

    def sum(self, given: Sequence[K]) -> None:
        """Any number of values of one shape."""
        made = self.key
        if len(given) == 1:
            self.same(given[0])
            return
        before = given[0]
        for one in given[1:]:
            self.combine("add", before, one)
            before = made

    def with_constant(self, op: Arithmetic, given: K, constant: Tensor, swapped: bool) -> None:
        """A value and a constant; ``swapped``: the constant stands on the left."""
        with self._linear(given, op == "mul" or (op == "div" and not swapped)):
            self._by_constant(op, given, constant, swapped)

    def _by_constant(self, op: Arithmetic, given: K, constant: Tensor, swapped: bool) -> None:
        value = self.by_channel(given, self.real(constant))
        if value is None:
            what = f"{op} with a constant {list(constant.shape)}"
            raise self.refusal(what, "one number, or one a channel")
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
                made = self.key
                self.function(given, torch.reciprocal)
                given, weight, bias = made, value, none
        self.affine(given, weight, bias)

    def concat(self, parts: Sequence[K], axis: int) -> None:
        """Channels side by side; ``axis`` counts the batch.

        Parts of one value along another axis only move its numbers.
        """
        values = [self.value(part) for part in parts]
        if axis % (1 + len(values[0].dims)) > 1 and len({one.number for one in values}) == 1:
            every = [self.places(part, 2) for part in parts]
            self.check_size(sum(one[0].numel() for one in every))
            self.moved(parts[0], torch.cat(every, axis), 2)
            return
        dims = [self.settled(part).dims for part in parts]
        shapes, at = [self.shape(part) for part in parts], axis % (1 + len(dims[0])) - 1
        alike = len({(len(d), *s[1:]) for d, s in zip(dims, shapes, strict=True)}) == 1
        if at < 0 or not alike or any(math.prod(d[:at]) != 1 for d in dims):
            raise self.refusal(f"concat along axis {axis}", "concat along channels")
        if any(d[at] != s[0] for d, s in zip(dims, shapes, strict=True)):
            raise self.refusal("concat of flattened maps", "concat before flatten")
        channels, first = sum(s[0] for s in shapes), dims[0]
        self.add("concat", parts, (channels, *shapes[0][1:]),
                 (*first[:at], channels, *first[at + 1 :]))  # fmt: skip

    def neighbours(self, given: K, size: int, alpha: float, beta: float, bias: float) -> None:
        """Local response normalisation: ``x (bias + alpha / size sum x^2)^-beta``, the sum over
        neighbouring channels, as a 1 x 1 convolution.
        """
        made, channels = self.key, self.map(given)[0]
        self.check_size(channels * channels)
        self.function(given, torch.square)
        self.add("conv", [made], self.shape(given), bias=torch.full((channels,), bias),
                 weight=banded(channels, size) * (alpha / size))  # fmt: skip
        self.function(made, lambda x: x**-beta)
        self.combine("mul", given, made)
