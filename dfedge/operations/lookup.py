"""Any function of one value: a table over what the value may be, or one such for each channel."""

from collections.abc import Sequence
from typing import Any, ClassVar

from dfedge.operations.operation import Arithmetic, Fields, Operation, Shape

LEVELS = 128
"""Of a value: 0..127."""


class Lookup(Operation, frozen=True, tag="lookup", omit_defaults=True):
    """``table[x]``; constant: table int8 [128], values 0..127.

    Attributes:
        each: every channel has a table of its own: ``table[c, x]``, int8 [C, 128].
    """

    each: bool = False

    in_place: ClassVar[bool] = True
    wide_values: ClassVar[bool] = True

    def fits(self, given: Sequence[Shape]) -> bool:
        """The shape stays."""
        return given[0] == self.shape

    def constants(self, given: Sequence[Shape]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The table, or the channels' one after the other."""
        return {"table": ("int8", (self.shape[2], LEVELS) if self.each else (LEVELS,))}

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """int8 [B, H, W, C]."""
        take = math.take_each if self.each else math.take
        return take(constants[0], given[0])

    def fields(self) -> Fields:
        """``groups``: as many as there are tables."""
        return {"groups": self.shape[2] if self.each else 1}
