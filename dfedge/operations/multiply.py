"""A map times a map, or times one number a channel."""

from collections.abc import Sequence
from typing import Any, ClassVar

from dfedge.limits import Activation, Int32, Shift
from dfedge.operations.operation import Arithmetic, Fields, Operation, Shape


class Multiply(Operation, frozen=True, tag="multiply"):
    """``((a - zeros[0]) (g - zeros[1]) factor + offset) >> shift``, kept in 0..127."""

    zeros: tuple[Activation, Activation]
    factor: Int32
    offset: Int32
    shift: Shift

    counts: ClassVar[tuple[int, int]] = (2, 2)
    in_place: ClassVar[bool] = True
    by_channel: ClassVar[bool] = True
    wide_values: ClassVar[bool] = True

    def fits(self, given: Sequence[Shape]) -> bool:
        """The second may be [1, 1, C]."""
        return self.shape == given[0] and given[1] in (self.shape, (1, 1, self.shape[2]))

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """int8 [B, H, W, C]."""
        a, g = (math.wide(x) - zero for x, zero in zip(given, self.zeros, strict=True))
        return math.narrow(a * (g * self.factor) + self.offset, self.shift)

    def fields(self) -> Fields:
        """As the definition has them."""
        zeros = {"zero": self.zeros[0], "other_zero": self.zeros[1]}
        return {**zeros, "factor": self.factor, "offset": self.offset, "shift": self.shift}
