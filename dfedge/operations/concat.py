"""Channels side by side."""

from collections.abc import Sequence
from typing import Any, ClassVar

from dfedge.operations.operation import MANY, Arithmetic, Operation, Shape


class Concat(Operation, frozen=True, tag="concat"):
    """Values of one scale, one after the other."""

    counts: ClassVar[tuple[int, int]] = (1, MANY)
    whole: ClassVar[bool] = True

    def fits(self, given: Sequence[Shape]) -> bool:
        """Channels add up."""
        return self.shape[2] == sum(one[2] for one in given) and {one[:2] for one in given} == {
            self.shape[:2]
        }

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """int8 [B, H, W, C']."""
        return math.concat(given)
