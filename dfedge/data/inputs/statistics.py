"""Simple statistics of windows, in integers alone; six of each channel.

Of a channel's levels x (`Scale.levels`), their sum S and their number T:

    mean        floor(S / T + 1/2)
    deviation   the mean of |x - S/T|, floor(sum |T x - S| / T^2 + 1/2)
    least, most
    energy      of x - S/T: the loudness of T sum x^2 - S^2 in eighths of an octave
                (`dfedge.data.loudness`)
    crossings   how often T x >= S changes from one sample to the next

Each is brought to a code by its own scale.  A device computes the same codes
(``dfe_statistics_input`` in C).
"""

from typing import ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.data.inputs.scale import LEVEL_BITS, MIDDLE, ChannelScale, Levels, in_c, scale_of
from dfedge.data.inputs.spectrum import octaves
from dfedge.data.inputs.table import table
from dfedge.data.loudness import loudness, octave
from dfedge.data.signal_shifts import Change

NAMES = ("mean", "deviation", "least", "most", "energy", "crossings")
HALF_RANGE = 127.5 * (1 << LEVEL_BITS)


class Statistics(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="statistics"
):
    """Features [1, 1, 6 C] of windows [T, C]: the first channel's `NAMES`, then the next one's.

    Attributes:
        scales: of each feature.
    """

    scales: tuple[ChannelScale, ...]

    word: ClassVar[str] = "statistics"
    net: ClassVar[str] = "vector"
    least: ClassVar[int] = 2
    header: ClassVar[str] = "statistics.h"

    @classmethod
    def suited(cls, levels: Levels) -> Self:
        """The scales that suit training windows, levels [N, T, C]."""
        found = cls(()).values(levels)[:, 0]
        return cls(tuple(scale_of(one, "") for one in found.T))

    def fits(self, length: int, channels: int) -> bool:
        """Whether windows [T, C] have such features."""
        return length >= self.least and len(self.scales) == len(NAMES) * channels

    def shape(self, channels: int) -> tuple[int, int, int]:
        """[H, W, C] of what a program is fed."""
        return 1, 1, len(NAMES) * channels

    def values(self, levels: Levels) -> NDArray[np.int64]:
        """Statistics [N, 1, 6 C] of levels [N, T, C]."""
        x, count = levels.astype(np.int64), levels.shape[1]
        sums = x.sum(1)
        away = count * x - sums[:, None]
        above = away >= 0
        square = count * count
        found = [
            (2 * sums + count) // (2 * count),
            (2 * np.abs(away).sum(1) + square) // (2 * square),
            x.min(1),
            x.max(1),
            loudness(count * (x * x).sum(1) - sums * sums),
            (above[:, 1:] != above[:, :-1]).sum(1),
        ]
        return np.stack(found, 2).reshape(len(x), 1, -1)

    def in_c(self, length: int) -> tuple[str, str]:
        """Tables, and a call with ``scales``, ``raw`` and ``x``."""
        channels = len(self.scales) // len(NAMES)
        tables = [in_c(self.scales, "each"), table("int64_t octave", octave())]
        call = f"dfe_statistics_input(scales, each, octave, {length}, {channels}, raw, x);"
        return "\n".join(tables), call

    def shift(
        self, name: str, numbers: list[float], scales: tuple[ChannelScale, ...]
    ) -> Change | None:
        """Of values [N, 1, 6 C]; None: it cannot be told from them."""
        zero = np.array([(one.zero + 0.5) * (1 << LEVEL_BITS) - MIDDLE for one in scales])
        if name not in ("gain", "offset"):
            return None
        factor = numbers[0] if name == "gain" else 1.0
        more = numbers[0] * HALF_RANGE if name == "offset" else 0.0

        def change(x: NDArray[np.float64]) -> NDArray[np.float64]:
            mean, deviation, *ends, energy, crossings = np.moveaxis(
                x.reshape(*x.shape[:2], -1, len(NAMES)), 3, 0
            )
            mean, a, b = ((one - zero) * factor + zero + more for one in (mean, *ends))
            found = [
                mean, deviation * abs(factor), np.minimum(a, b), np.maximum(a, b),
                energy + octaves(factor), crossings,
            ]  # fmt: skip
            return np.stack(found, 3).reshape(x.shape)

        return change
