"""Rows and columns by number: nearest upsampling, reflected or repeated edges, a crop, a flip."""

from collections.abc import Sequence
from typing import Any, ClassVar

from dfedge.operations.operation import Arithmetic, Operation, Shape


class Gather(Operation, frozen=True, tag="gather"):
    """``x[rows[i], columns[j]]``; constant: order int32 [H' + W'], rows before columns."""

    whole: ClassVar[bool] = True

    def fits(self, given: Sequence[Shape]) -> bool:
        """Channels stay."""
        return given[0][2] == self.shape[2]

    def constants(self, given: Sequence[Shape]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The numbers, each below H and below W."""
        return {"order": ("int32", (self.shape[0] + self.shape[1],))}

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """int8 [B, H', W', C]."""
        height = self.shape[0]
        return math.gather(given[0], constants[0][:height], constants[0][height:])
