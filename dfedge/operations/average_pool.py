"""Means over windows."""

from typing import Any, ClassVar

from dfedge.limits import Int32, Shift
from dfedge.operations.operation import Arithmetic, Fields
from dfedge.operations.windows import Windows


class AveragePool(Windows, frozen=True, tag="average_pool"):
    """``(factor sum + offset) >> shift`` over windows without padding, kept in 0..127."""

    factor: Int32
    offset: Int32
    shift: Shift

    wide_values: ClassVar[bool] = True

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """int8 [B, H', W', C]."""
        total = math.window_sum(given[0], self.kernel, self.stride)
        return math.narrow(total * self.factor + self.offset, self.shift)

    def fields(self) -> Fields:
        """Windows, and as the definition has them."""
        end = {"factor": self.factor, "offset": self.offset, "shift": self.shift}
        return {**super().fields(), **end}
