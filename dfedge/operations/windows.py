"""What convolutions and pools have in common."""

from collections.abc import Sequence
from math import prod
from typing import Annotated, ClassVar

from msgspec import Meta

from dfedge.limits import Pad as Zeros
from dfedge.limits import Side
from dfedge.operations.operation import Fields, Operation, Shape

Two = tuple[Side, Side]
Pads = tuple[Zeros, Zeros, Zeros, Zeros]
"""Above, below, left, right."""
Stride = Side | Annotated[tuple[Side, ...], Meta(min_length=2, max_length=2)]
"""Both ways; or down and across, where they differ.  (msgspec 0.22 crashes on a union of a bounded
number and a tuple of fixed length.)"""
NO_PADS = (0, 0, 0, 0)
MOST_POOLED = 1 << 22
"""Positions of a window."""
PADS = ("top", "bottom", "left", "right")


class WindowOperation(Operation, frozen=True):
    """An operation over windows.

    Attributes:
        kernel: height and width.
        stride: of windows.
    """

    kernel: Two
    stride: Stride

    windows: ClassVar[bool] = True
    most_taps: ClassVar[int] = MOST_POOLED

    def around(self) -> tuple[int, int, int, int]:
        """Rows and columns outside that windows see: above, below, left, right."""
        return NO_PADS

    @property
    def steps(self) -> tuple[int, int]:
        """The stride down and across."""
        both = (self.stride, self.stride) if isinstance(self.stride, int) else self.stride
        return both[0], both[1]

    @property
    def geometry(self) -> list[int]:
        """As an `Arithmetic` takes it."""
        down, across = self.steps
        return [*self.kernel, down, *self.around(), 0, across]

    def sides(self, given: Shape) -> tuple[int, int]:
        """Rows and columns of the result."""
        top, bottom, left, right = self.around()
        down, across = self.steps
        rows = (given[0] + top + bottom - self.kernel[0]) // down + 1
        return rows, (given[1] + left + right - self.kernel[1]) // across + 1

    def fits(self, given: Sequence[Shape]) -> bool:
        """Channels stay."""
        return self._sized(given[0]) and self.shape[2] == given[0][2]

    def _sized(self, given: Shape) -> bool:
        sides = self.sides(given)
        return min(sides) >= 1 and self.shape[:2] == sides and prod(self.kernel) <= self.most_taps

    def fields(self) -> Fields:
        """Kernel, strides, pads."""
        kernel = {"kernel_height": self.kernel[0], "kernel_width": self.kernel[1]}
        strides = dict(zip(("stride", "across"), self.steps, strict=True))
        return {**kernel, **strides, **dict(zip(PADS, self.around(), strict=True))}


class PaddedWindows(WindowOperation, frozen=True):
    """The same with rows and columns outside."""

    pads: Pads

    def around(self) -> tuple[int, int, int, int]:
        """As in the record."""
        return self.pads
