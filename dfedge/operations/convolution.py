"""A convolution whose output channels have shifts of their own."""

from collections.abc import Sequence
from typing import Any, ClassVar

from dfedge.limits import MOST_TAPS, Channels, Shift
from dfedge.operations.operation import Arithmetic, Fields, Shape
from dfedge.operations.windows import PaddedWindows


class Convolution(PaddedWindows, frozen=True, tag="convolution", omit_defaults=True):
    """``(clip(conv(x, weight) + bias, limit) lift + 2^(shift-1)) >> shift``, kept in 0..127.

    Constants: weight; bias int32 [O]; lift int32 [O], powers of two up to 2^shift; limit int32 [O],
    ``2^(7 + shift) / lift``, what saturates in any case.

    Attributes:
        depthwise: every channel on its own, and as many come out.
        groups: of channels that are convolved on their own, where it is not depthwise; they come
            out in the same order.
    """

    depthwise: bool
    shift: Shift
    groups: Channels = 1

    most_taps: ClassVar[int] = MOST_TAPS

    @property
    def geometry(self) -> list[int]:
        """As an `Arithmetic` takes it."""
        *windows, _, across = super().geometry
        return [*windows, int(self.depthwise), across, self.groups]

    @property
    def group_count(self) -> int:
        """Groups of channels, of which depthwise each is one."""
        return self.shape[2] if self.depthwise else self.groups

    def fits(self, given: Sequence[Shape]) -> bool:
        """Channels stay where it is depthwise; else both sides fall into the groups."""
        channels, out = given[0][2], self.shape[2]
        if self.depthwise:
            return self._sized(given[0]) and channels == out and self.groups == 1
        return self._sized(given[0]) and channels % self.groups == out % self.groups == 0

    def constants(self, given: Sequence[Shape]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Weight, bias, lift, limit."""
        taps, out = self.kernel[0] * self.kernel[1], self.shape[2]
        weight = taps, given[0][2] // self.groups, 1 if self.depthwise else out
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
        """Windows, groups, the shift."""
        return {**super().fields(), "groups": self.group_count, "shift": self.shift}
