"""Means over windows."""

from typing import Any, ClassVar

from dfedge.limits import Activation, Int32, Shift
from dfedge.operations.operation import Arithmetic, Fields, Shape
from dfedge.operations.windows import NO_PADS, Pads, WindowOperation


class AveragePool(WindowOperation, frozen=True, tag="average_pool", omit_defaults=True):
    """``((sum - n zero) (factor K / n) + offset) >> shift``, kept in 0..127.

    n of a window's K positions lie inside, and only they are summed; the quotient is rounded
    towards zero.  Without padding and zero it is ``(factor sum + offset) >> shift``.
    """

    factor: Int32
    offset: Int32
    shift: Shift
    pads: Pads = NO_PADS
    zero: Activation = 0

    wide_values: ClassVar[bool] = True

    def around(self) -> tuple[int, int, int, int]:
        """As in the record."""
        return self.pads

    def fits(self, given: list[Shape]) -> bool:  # type: ignore[override]
        """Channels stay, and every window sees something."""
        sees = all(pad < self.kernel[i // 2] for i, pad in enumerate(self.pads))
        return sees and super().fits(given)

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """int8 [B, H', W', C]."""
        total = math.window_sum(given[0], self.geometry)
        counts = self._counts(tuple(given[0].shape[1:3]))
        if self.zero:
            total = total - math.by_place([[n * self.zero for n in row] for row in counts])
        if any(self.pads):
            factors = math.by_place([[self._factor(n) for n in row] for row in counts])
        else:
            factors = self.factor
        return math.narrow(total * factors + self.offset, self.shift)

    def _counts(self, sides: tuple[int, ...]) -> list[list[int]]:
        """How many positions of each window lie inside."""
        rows, columns = (self._inside(axis, side) for axis, side in enumerate(sides))
        return [[row * column for column in columns] for row in rows]

    def _inside(self, axis: int, side: int) -> list[int]:
        step, kernel, before = self.steps[axis], self.kernel[axis], self.pads[2 * axis]
        starts = (i * step - before for i in range(self.shape[axis]))
        return [min(start + kernel, side) - max(start, 0) for start in starts]

    def _factor(self, count: int) -> int:
        whole = self.factor * self.kernel[0] * self.kernel[1]
        return whole // count if whole >= 0 else -(-whole // count)

    def fields(self) -> Fields:
        """Windows, and as the definition has them."""
        end = {"factor": self.factor, "offset": self.offset, "shift": self.shift}
        return {**super().fields(), **end, "zero": self.zero}
