"""Operations that work number by number, or channel by channel."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dfedge.adoption.functions import join_functions, ways
from dfedge.adoption.graph import ForeignNode, Op
from dfedge.adoption.pools import Pools
from dfedge.adoption.values import K, Pads, Value


class Pointwise(Pools[K]):
    """They take a value in whatever order it is seen."""

    def affine(self, given: K, weight: Tensor, bias: Tensor) -> None:
        """A straight line for each channel, [C] each."""
        self._alone("affine", given, weight=weight, bias=bias)

    def _alone(self, op: Op, given: K, **rest: Any) -> None:
        value = self.loose(given)
        self.add(op, [given], self.shape(given), **rest)
        self.as_seen(value)

    def clip(self, given: K, slope: float, lift: float, low: float, high: float) -> None:
        """A straight line between two bounds."""
        self._alone("clip", given, slope=slope, lift=lift, bounds=(low, high))

    def function(self, given: K, function: Callable[[Tensor], Tensor]) -> None:
        """A function of one value, the same for every value."""
        self._alone("function", given, function=function)

    def padded(self, given: K, pads: Pads, fill: float) -> None:
        """One number around a map: zeros around what differs from it."""
        if not fill:
            self.pad(given, pads)
            return
        made, ones = self.key, torch.ones(self.shape(given)[0])
        self.affine(given, ones, -fill * ones)
        self.pad(made, pads)
        self.affine(made, ones, fill * ones)

    def joined(self, function: Callable[..., Tensor], given: Sequence[K]) -> bool:
        """A function of several values and constants, number by number, where all of the values are
        made from one value alone; False, and nothing, where they are not.
        """
        join_functions(self.nodes)
        values = [self.loose(one) for one in given if one in self.values]
        chains = [dict(ways(self.nodes, one.number)) for one in values]
        shared = [number for number in chains[0] if all(number in one for one in chains)]
        if not shared or not all(seen_alike(values[0], one) for one in values):
            return False
        root, own = shared[0], iter(chains)
        parts = [next(own)[root] if one in self.values else self._number(one) for one in given]
        shape = self.nodes[values[0].number].shape
        if self.nodes[root].shape != shape:
            return False
        node = ForeignNode("function", self.site.name, (root,), shape, where=self.site.line)
        node.function = lambda x: function(*(part(x) for part in parts)).to(x.dtype)
        self.nodes.append(node)
        self.values[self.key] = replace(values[0], number=len(self.nodes) - 1)
        return True

    def _number(self, key: K) -> Callable[[Tensor], Tensor]:
        """A constant of one number, as a function."""
        constant = self.weights(key)
        if constant.numel() != 1:
            raise self.refusal(f"{self.site.what} with a constant {list(constant.shape)}",
                               "one number")  # fmt: skip
        return lambda x: constant.flatten()[0].to(x.dtype)


def seen_alike(a: Value, b: Value) -> bool:
    """Whether two values are seen in one form and order."""
    if a.dims != b.dims or a.places is None or b.places is None:
        return a.dims == b.dims and a.places is b.places
    return torch.equal(a.places, b.places)
