"""From a number to a code 0..255, or to a level of 16 bits, by whole numbers alone.

    code  = (raw multiplier + offset) >> shift, kept in 0..255
    level = 32 times that, less 4096, kept in 16 bits: 1/32 of a code, counted from the range's
            middle, with room for four times the range on either side

``dfe_coded`` and ``dfe_levelled`` in C.
"""

import math
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from dfedge.data.dataset import Images
from dfedge.errors import DfedgeError

OUTER, ROOM = 0.5, 1 / 16
"""Percent of the values on either side that may lie outside a range, and what is added to it."""
RAW_BITS, MULTIPLIER_BITS, LEVEL_BITS = 14, 15, 5
"""Of a real channel's range in fixed point, of a multiplier, and of a level below a code."""
LARGEST_RAW = (1 << 31) - 1
LEAST_SPAN = 64
"""Of a real channel's range, in raw units."""
MIDDLE = 128 << LEVEL_BITS
Levels = NDArray[np.int16]


class ChannelScale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One channel's numbers; see above.  A multiplier of 0 is of a channel that never changed."""

    fraction: Annotated[int, Meta(ge=-32, le=62)]
    multiplier: Annotated[int, Meta(ge=0, le=(1 << MULTIPLIER_BITS) - 1)]
    offset: Annotated[int, Meta(ge=-(1 << 52), le=1 << 52)]
    shift: Annotated[int, Meta(ge=0, le=48)]

    @property
    def zero(self) -> float:
        """The code of 0, not rounded and perhaps out of range."""
        return self.offset / 2.0**self.shift - 0.5

    @property
    def step(self) -> float:
        """Codes for each unit of the signal."""
        return self.multiplier * 2.0 ** (self.fraction - self.shift)

    def raw(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Whole numbers as they are, real ones in fixed point, of 32 bits."""
        with np.errstate(over="ignore"):  # an infinity is cut off like any value that is too large
            raw = np.floor(values.astype(np.float64) * 2.0**self.fraction + 0.5)
        return np.clip(raw, -LARGEST_RAW, LARGEST_RAW).astype(np.int64)

    def codes(self, raw: NDArray[np.int64]) -> Images:
        """See above."""
        return np.clip(raw * self.multiplier + self.offset >> self.shift, 0, 255).astype(np.uint8)

    def levels(self, raw: NDArray[np.int64]) -> Levels:
        """See above."""
        sum_, up = raw * self.multiplier + self.offset, LEVEL_BITS - self.shift
        level = (sum_ << up if up > 0 else sum_ >> -up) - MIDDLE
        return np.clip(level, -(1 << 15), (1 << 15) - 1).astype(np.int16)


CONSTANT = ChannelScale(0, 0, 128, 0)
"""Of a channel that never changed."""


def in_c(scales: tuple[ChannelScale, ...], name: str) -> str:
    """A table ``dfe_scale`` of C."""
    rows = "".join(f"    {{{one.offset}, {one.multiplier}, {one.shift}}},\n" for one in scales)
    return f"static const dfe_scale {name}[] = {{\n{rows}}};"


def scale_of(values: NDArray[Any], where: str) -> ChannelScale:
    """The scale that suits training values [N] of a channel.

    Raises:
        DfedgeError: values that 31 bits cannot tell apart.
    """
    values = values.astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values) or values.min() == values.max():
        return CONSTANT
    whole = bool((values == np.floor(values)).all()) and np.abs(values).max() <= LARGEST_RAW
    low, high = np.percentile(values, [OUTER, 100 - OUTER])
    if low == high or (whole and high - low < 1):
        low, high = values.min(), values.max()
    room = (high - low) * ROOM
    low, high = low - room, high + room
    most = math.frexp(max(abs(low), abs(high)))[1]
    fraction = 0 if whole else min(RAW_BITS - math.frexp(high - low)[1], 30 - most)
    first, span = low * 2.0**fraction, (high - low) * 2.0**fraction
    if not whole and not (-32 <= fraction <= 62 and span >= LEAST_SPAN):
        raise DfedgeError(
            f"{where}: values from {low:g} to {high:g} cannot be told apart in 31 bits; subtract "
            "their mean, or give them in other units"
        )
    shift = MULTIPLIER_BITS - math.frexp(255 / span)[1]
    multiplier = min(round(255 / span * 2**shift), (1 << MULTIPLIER_BITS) - 1)
    half = 1 << shift >> 1
    return ChannelScale(fraction, multiplier, round(-first * multiplier) + half, shift)
