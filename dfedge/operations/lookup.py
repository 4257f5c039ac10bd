"""Any function of one value: a table over what the value may be."""

from collections.abc import Sequence
from typing import Any, ClassVar

from dfedge.operations.operation import Arithmetic, Operation, Shape

LEVELS = 128
"""Of a value: 0..127."""


class Lookup(Operation, frozen=True, tag="lookup"):
    """``table[x]``; constant: table int8 [128], values 0..127."""

    in_place: ClassVar[bool] = True
    wide_values: ClassVar[bool] = True

    def fits(self, given: Sequence[Shape]) -> bool:
        """The shape stays."""
        return given[0] == self.shape

    def constants(self, given: Sequence[Shape]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The table."""
        return {"table": ("int8", (LEVELS,))}

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """int8 [B, H, W, C]."""
        return math.take(constants[0], given[0])
