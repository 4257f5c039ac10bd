"""Some channels, in any order: a split, a slice, a shuffle."""

from collections.abc import Sequence
from typing import Any

from dfedge.operations.operation import Arithmetic, Operation, Shape


class Select(Operation, frozen=True, tag="select"):
    """Channels of what goes in, by number; constant: order int32 [C'], each below C."""

    def fits(self, given: Sequence[Shape]) -> bool:
        """Rows and columns stay."""
        return given[0][:2] == self.shape[:2]

    def constants(self, given: Sequence[Shape]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The numbers."""
        return {"order": ("int32", (self.shape[2],))}

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """int8 [B, H, W, C']."""
        return math.select(given[0], constants[0])
