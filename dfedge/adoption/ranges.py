"""What a result's integers stand for, and the choice of it by what is lost."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from torch import Tensor

from dfedge.adoption.functions import same
from dfedge.adoption.observe import Observed
from dfedge.int8.ops.values import ACTIVATION_MAX
from dfedge.int8.rounding import round_half_up
from dfedge.learn.recipe import Recipe

SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4)


@dataclass(frozen=True)
class Range:
    """``q = v scale + zero``."""

    scale: float
    zero: int

    def integers(self, values: Tensor) -> Tensor:
        """Whole numbers 0..127, of the type of the values."""
        return round_half_up(values * self.scale + self.zero).clamp(0, ACTIVATION_MAX)

    def real(self, q: Tensor) -> Tensor:
        """What integers stand for."""
        return (q - self.zero) / self.scale


def choose(
    of: Observed, recipe: Recipe, through: Callable[[Tensor], Tensor] | None = None
) -> Range:
    """The range of a result: whole, up to a percentile, or that of least squared error.

    Args:
        through: the one function that reads it, whose result the error is then of: what saturates
            anyway needs no range of its own.
    """
    seen = of.values[:, :, None, None]
    low, high = min(float(of.low.min()), 0.0), max(float(of.high.max()), 0.0)
    if recipe.activations == "percentile":
        part = recipe.percentile / 100
        low, high = min(float(seen.quantile(1 - part)), 0.0), max(float(seen.quantile(part)), 0.0)
    shrinks = SHRINKS if recipe.activations == "mse" else (1.0,)
    pairs = product(shrinks, shrinks) if through else zip(shrinks, shrinks, strict=True)
    ranges = [_range(low * below, high * above) for below, above in pairs]
    end = through or same
    wanted = end(seen)

    def loss(one: Range) -> float:
        return float((end(one.real(one.integers(seen))) - wanted).square().sum())

    return min(ranges, key=loss)


def _range(low: float, high: float) -> Range:
    scale = ACTIVATION_MAX / max(high - low, 1e-6)
    return Range(scale, min(round(-low * scale), ACTIVATION_MAX))


def start(zero: float, shift: int) -> int:
    """What a sum begins with so that ``>> shift`` rounds half up to values around a zero."""
    return round(zero * 2**shift) + ((1 << shift) >> 1)
