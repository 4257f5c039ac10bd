"""Operations that work number by number, or channel by channel."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from dfedge.adoption.graph import Op
from dfedge.adoption.pools import Pools
from dfedge.adoption.values import K


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
