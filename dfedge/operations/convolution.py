"""A convolution whose output channels have shifts of their own."""

from collections.abc import Sequence
from typing import Any, ClassVar

from dfedge.limits import MOST_TAPS, Shift
from dfedge.operations.operation import Arithmetic, Fields, Shape
from dfedge.operations.windows import PaddedWindows


class Convolution(PaddedWindows, frozen=True, tag="convolution"):
    """``(clip(conv(x, weight) + bias, limit) lift + 2^(shift-1)) >> shift``, kept in 0..127.

    Constants: weight; bias int32 [O]; lift int32 [O], powers of two up to 2^shift; limit int32 [O],
    ``2^(7 + shift) / lift``, what saturates in any case.
    """

    depthwise: bool
    shift: Shift

    most_taps: ClassVar[int] = MOST_TAPS

    @property
    def geometry(self) -> list[int]:
        """As an `Arithmetic` takes it."""
        *windows, _, across = super().geometry
        return [*windows, int(self.depthwise), across]

    def fits(self, given: Sequence[Shape]) -> bool:
        """Channels stay where it is depthwise."""
        return self._sized(given[0]) and (not self.depthwise or self.shape[2] == given[0][2])

    def constants(self, given: Sequence[Shape]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Weight, bias, lift, limit."""
        taps, out = self.kernel[0] * self.kernel[1], self.shape[2]
        weight = taps, given[0][2], 1 if self.depthwise else out
        return {"weight": ("int8", weight)} | dict.fromkeys(
            ("bias", "lift", "limit"), ("int32", (out,))
        )

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """int8 [B, H', W', O]."""
        weight, bias, lift, limit = constants
        half = (1 << self.shift) >> 1

        def scaled(total: Any) -> Any:
            lifted = math.clip(total, math.wide(limit)) * math.wide(lift)
            return math.narrow(lifted + half, self.shift)

        return math.convolve(given[0], weight, bias, self.geometry, scaled)

    def fields(self) -> Fields:
        """Windows, whether it is depthwise, the shift."""
        return {**super().fields(), "depthwise": int(self.depthwise), "shift": self.shift}
