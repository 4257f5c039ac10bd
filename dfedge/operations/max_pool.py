"""Maxima over windows."""

from typing import Any

from dfedge.operations.operation import Arithmetic
from dfedge.operations.windows import PaddedWindows


class MaxPool(PaddedWindows, frozen=True, tag="max_pool"):
    """The largest of a window; what lies outside never is."""

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """int8 [B, H', W', C]."""
        return math.window_max(given[0], self.geometry)
