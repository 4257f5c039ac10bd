"""The sum of two values, each by a factor that brings it to the result's scale."""

from collections.abc import Sequence
from typing import Any, ClassVar

from dfedge.limits import Int32, Shift
from dfedge.operations.operation import Arithmetic, Fields, Operation, Shape


class Add(Operation, frozen=True, tag="add"):
    """``(factors[0] a + factors[1] c + offset) >> shift``, kept in 0..127."""

    factors: tuple[Int32, Int32]
    offset: Int32
    shift: Shift

    counts: ClassVar[tuple[int, int]] = (2, 2)
    in_place: ClassVar[bool] = True
    wide_values: ClassVar[bool] = True

    def fits(self, given: Sequence[Shape]) -> bool:
        """All shapes are equal."""
        return set(given) == {self.shape}

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """int8 [B, H, W, C]."""
        a, c = map(math.wide, given)
        factor, other = self.factors
        return math.narrow(a * factor + c * other + self.offset, self.shift)

    def fields(self) -> Fields:
        """As the definition has them."""
        factor, other = self.factors
        return {"factor": factor, "other": other, "offset": self.offset, "shift": self.shift}
