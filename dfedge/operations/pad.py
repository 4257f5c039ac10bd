"""Padding with the integer that stands for zero."""

from collections.abc import Sequence
from typing import Any, ClassVar

from dfedge.limits import Activation
from dfedge.operations.operation import Arithmetic, Fields, Operation, Shape
from dfedge.operations.windows import PADS, Pads


class Pad(Operation, frozen=True, tag="pad"):
    """Before a convolution of what is signed: its zero is not the integer 0."""

    pads: Pads
    fill: Activation

    whole: ClassVar[bool] = True

    def fits(self, given: Sequence[Shape]) -> bool:
        """Rows and columns are added."""
        (height, width, channels), (top, bottom, left, right) = given[0], self.pads
        return self.shape == (height + top + bottom, width + left + right, channels)

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """int8 [B, H', W', C]."""
        return math.pad(given[0], self.pads, self.fill)

    def fields(self) -> Fields:
        """Pads and what they hold."""
        return {**dict(zip(PADS, self.pads, strict=True)), "zero": self.fill}
