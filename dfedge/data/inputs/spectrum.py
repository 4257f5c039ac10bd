"""Spectral power of windows, in integers alone: how loud each channel is in each of some bands.

    X_k  = sum_n round(2^14 e^(2 pi i k n / T)) x_n  of a channel's levels (`Scale.levels`); X_0 = 0
    Y_k  = 2 X_k - X_(k-1) - X_(k+1)  >> 14: four times the transform under a Hann window
    E_b  = sum of |Y_k|^2 over the bins edge_b <= k < edge_(b+1), k = 1 .. T/2
    value = the loudness of E_b in eighths of an octave (`dfedge.data.loudness`)

Bands grow wider with frequency: edge_b = 1 + b + (T/2 - B) b^2 / B^2, rounded down.  The value is
brought to a code by each channel's own scale, the same in all bands.  A device computes the same
codes (``dfe_spectrum_input`` in C).
"""

from functools import cache
from typing import Annotated, ClassVar, Self

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from dfedge.data.inputs.scale import ChannelScale, Levels, in_c, scale_of
from dfedge.data.inputs.table import table
from dfedge.data.loudness import STEPS, loudness, octave
from dfedge.data.signal_shifts import Change

BANDS, LEAST = 32, 8
"""Where a window has as many bins; samples of the shortest window that has a spectrum."""
WAVE_BITS = 14


class Spectrum(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="spectrum"
):
    """Features [bands, 1, C] of windows [T, C].

    Attributes:
        scales: of each channel's loudness.
    """

    bands: Annotated[int, Meta(ge=1, le=1 << 11)]
    scales: tuple[ChannelScale, ...]

    word: ClassVar[str] = "spectrum"
    net: ClassVar[str] = "vibration"
    least: ClassVar[int] = LEAST
    header: ClassVar[str] = "spectrum.h"

    @classmethod
    def suited(cls, levels: Levels) -> Self:
        """The scales that suit training windows, levels [N, T, C]."""
        bands = min(BANDS, levels.shape[1] // 2)
        found = cls(bands, ()).values(levels)
        return cls(bands, tuple(scale_of(one.reshape(-1), "") for one in np.moveaxis(found, 2, 0)))

    def fits(self, length: int, channels: int) -> bool:
        """Whether windows [T, C] have such features."""
        return length >= LEAST and 2 * self.bands <= length and len(self.scales) == channels

    def shape(self, channels: int) -> tuple[int, int, int]:
        """[H, W, C] of what a program is fed."""
        return self.bands, 1, channels

    def values(self, levels: Levels) -> NDArray[np.int64]:
        """Loudness [N, bands, C] of levels [N, T, C]."""
        length = levels.shape[1]
        # Sums below 2^41 are exact in float64.
        x = np.moveaxis(levels, 1, 2).astype(np.float64)
        power = np.zeros((*x.shape[:2], length // 2), np.int64)
        for wave in waves(length):
            bins = (x @ wave[_angles(length)]).astype(np.int64)
            bins[..., 0] = 0
            power += (2 * bins[..., 1:-1] - bins[..., :-2] - bins[..., 2:] >> WAVE_BITS) ** 2
        edges = np.array(self.edges(length))[:-1] - 1
        return np.moveaxis(loudness(np.add.reduceat(power, edges, axis=2)), 2, 1)

    def edges(self, length: int) -> list[int]:
        """Of the bands, from 1 to T/2 + 1."""
        more = length // 2 - self.bands
        return [1 + b + more * b * b // (self.bands * self.bands) for b in range(self.bands + 1)]

    def in_c(self, length: int) -> tuple[str, str]:
        """Tables, and a call with ``scales``, ``raw`` and ``x``."""
        cosines, sines = waves(length)
        tables = [
            in_c(self.scales, "loud"),
            table("int64_t octave", octave()),
            table("int16_t cosines", cosines),
            table("int16_t sines", sines),
            table("int16_t edges", self.edges(length)),
            f"static int16_t levels[{length}];",
            f"static const dfe_spectrum spectrum = {{scales, loud, octave, cosines, sines, edges, "
            f"levels, {length}, {len(self.scales)}, {self.bands}}};",
        ]
        return "\n".join(tables), "dfe_spectrum_input(&spectrum, raw, x);"

    def shift(self, name: str, numbers: list[float], _: tuple[ChannelScale, ...]) -> Change | None:
        """Of values [N, bands, C]; None: it cannot be told from them."""
        if name == "gain":
            return lambda x: x + octaves(numbers[0])
        return (lambda x: x) if name == "offset" else None


def octaves(factor: float) -> float:
    """What a factor of the signal adds to the loudness of its power."""
    return 2 * STEPS * float(np.log2(max(abs(factor), 1e-9)))


@cache
def waves(length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One period each, round(2^14 cos(2 pi j / T)) and the sine's, int64 [T]."""
    angle = 2 * np.pi * np.arange(length) / length
    cosine, sine = (np.round(f(angle) * (1 << WAVE_BITS)) for f in (np.cos, np.sin))
    return cosine.astype(np.int64), sine.astype(np.int64)


@cache
def _angles(length: int) -> NDArray[np.int64]:
    """Places in a period, [T, T/2 + 2], of bins 0 .. T/2 + 1."""
    return np.arange(length)[:, None] * np.arange(length // 2 + 2) % length
