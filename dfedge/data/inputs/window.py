"""Windows of signals [T, C], and vectors [C]: sensors, sound, rows of a table.

A value becomes a code in two steps, in integers from the first one on:

1. ``raw``: a whole number as it is; a real one in fixed point, ``floor(value 2^fraction + 1/2)``;
2. ``code = (raw multiplier + offset) >> shift``, kept in 0..255, by each channel's own numbers.

A device that reads its sensor in the same units does the second step alone (``dfe_input`` in C).
The range of a channel is read off training samples: from their percentile 0.5 to 99.5, and a
sixteenth of that on either side, so that single spikes do not cost the others their resolution.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from dfedge.data.dataset import Images
from dfedge.data.inputs.rule import InC, InputRule, Shift
from dfedge.data.shift_forms import SIGNALS, Form
from dfedge.data.signal_shifts import AXES, CHANGES, IN_SPACE, moved
from dfedge.errors import DfedgeError, UsageError

LONGEST, MOST_CHANNELS = 4096, 4096
OUTER, ROOM = 0.5, 1 / 16
"""Percent of the values on either side that may lie outside a range, and what is added to it."""
RAW_BITS, MULTIPLIER_BITS = 14, 15
"""Of a real channel's range in fixed point, and of a multiplier."""
LARGEST_RAW = (1 << 31) - 1
LEAST_SPAN = 64
"""Of a real channel's range, in raw units."""


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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


CONSTANT = Scale(0, 0, 128, 0)
"""Of a channel that never changed."""


class WindowRule(
    InputRule, msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind",
    tag="window",
):  # fmt: skip
    """The windows that a model reads; a vector is a window of length 1.

    Attributes:
        length: T, samples in time.
        scales: of each channel.
        names: of the channels; none where the data have none.
    """

    length: Annotated[int, Meta(ge=1, le=LONGEST)]
    scales: Annotated[tuple[Scale, ...], Meta(min_length=1, max_length=MOST_CHANNELS)]
    names: tuple[str, ...] = ()

    sample: ClassVar[str] = "a window"
    samples: ClassVar[str] = "the windows"
    shifts: ClassVar[Mapping[str, Form]] = SIGNALS
    drift: ClassVar[Mapping[str, str]] = {"gain": "0.5", "offset": "0.2"}

    def __post_init__(self) -> None:
        if self.names and len(self.names) != len(self.scales):
            raise ValueError(f"{len(self.names)} names of {len(self.scales)} channels")

    @property
    def shape(self) -> tuple[int, int, int]:
        """[T, 1, C]."""
        return self.length, 1, len(self.scales)

    @property
    def net(self) -> str:
        """See `InputRule`."""
        return "vector" if self.length == 1 else "imu"

    def apply(self, x: NDArray[Any], where: str) -> Images:
        """Windows [N, T, C], of one channel also [N, T], vectors also [N, C]; see `InputRule`."""
        if x.dtype == np.uint8 and x.ndim == 4 and x.shape[1:] == self.shape:
            return x
        x = as_windows(x, where, self.length == 1)
        length, channels = x.shape[1:]
        if (length, channels) != (self.length, len(self.scales)):
            raise DfedgeError(
                f"{where}: {_described(length, channels)}; the model reads "
                f"{_described(self.length, len(self.scales))}"
            )
        bad = np.flatnonzero(self.unusable(x))
        if len(bad):
            raise DfedgeError(
                f"{where}: a value of sample {bad[0]} is not finite ({len(bad)} of {len(x)} "
                "samples hold one); remove them, or pass over them with --on-bad-sample skip"
            )
        return np.stack([_coded(x[..., c], one) for c, one in enumerate(self.scales)], -1)[
            :, :, None
        ]

    @classmethod
    def checked(cls, x: NDArray[Any], where: str) -> NDArray[Any]:
        """Two axes are vectors; see `as_windows`."""
        return as_windows(x, where, vectors=True)

    @classmethod
    def suited(cls, x: NDArray[Any], names: Sequence[str] = ()) -> "WindowRule":
        """Windows [N, T, C] or vectors [N, C]; see `InputRule`."""
        x = as_windows(x, "the windows", vectors=True)
        length, channels = x.shape[1:]
        if length > LONGEST or channels > MOST_CHANNELS:
            raise DfedgeError(
                f"{_described(length, channels)}; allowed: at most {LONGEST:,} samples and "
                f"{MOST_CHANNELS:,} channels"
            )
        called = names or [f"channel {c}" for c in range(channels)]
        scales = (_scale(x[..., c].reshape(-1), called[c]) for c in range(channels))
        return cls(length, tuple(scales), tuple(names))

    def read(self, path: Path) -> Images:
        """The windows of a recording, a file .csv; see `InputRule`."""
        from dfedge.data.tables import windows_of  # whose own rules know this one

        return self.apply(windows_of(path, self.length, self.names), str(path))

    @classmethod
    def unusable(cls, x: NDArray[Any]) -> NDArray[np.bool_]:
        """See `InputRule`."""
        if not np.issubdtype(x.dtype, np.floating):
            return np.zeros(len(x), bool)
        return np.asarray(~np.isfinite(x).reshape(len(x), -1).all(1))

    def in_c(self) -> InC:
        """Of readings in fixed point: see `InputRule`."""
        units = ", ".join(f"2^{-one.fraction}" if one.fraction else "1" for one in self.scales)
        rows = "".join(
            f"    {{{one.offset}, {one.multiplier}, {one.shift}}},\n" for one in self.scales
        )
        return InC(
            ("window.h",),
            f"One window of readings [T, C], whole numbers; the unit of each channel: {units}.",
            "void net_input(const int32_t *raw, int8_t *x)",
            f"static const dfe_scale scales[] = {{\n{rows}}};",
            f"    dfe_window_input(scales, {self.length}, {len(self.scales)}, raw, x);",
        )

    def shift(self, name: str, numbers: list[float]) -> Shift:
        """See `InputRule`."""
        zero = np.array([one.zero for one in self.scales])
        step = np.array([one.step for one in self.scales])
        if name in IN_SPACE and len(self.scales) % AXES:
            raise UsageError(
                f"{name} is for sensors of {AXES} axes; {self.samples} have {len(self.scales)} "
                "channels"
            )
        half = np.divide(127.5, step, out=np.zeros_like(step), where=step > 0)
        return moved(CHANGES[name](half, *numbers), zero, step)

    def __str__(self) -> str:
        """``windows of 128 samples of 6 channels``."""
        return _described(self.length, len(self.scales))


def _described(length: int, channels: int) -> str:
    if length == 1:
        return f"vectors of {channels} value{'s' * (channels > 1)}"
    return f"windows of {length} samples of {channels} channel{'s' * (channels > 1)}"


def as_windows(x: NDArray[Any], where: str, vectors: bool = False) -> NDArray[Any]:
    """Check axes and type: [N, T, C].

    Args:
        vectors: two axes are [N, C], and not [N, T].

    Raises:
        DfedgeError: with what was found and what is allowed.
    """
    if x.ndim == 2:
        x = x[:, None, :] if vectors else x[:, :, None]
    if x.ndim != 3 or not x.size:
        raise DfedgeError(f"{where}: x has shape {x.shape}; allowed: [N, T, C], or [N, C]")
    if not (np.issubdtype(x.dtype, np.integer) or np.issubdtype(x.dtype, np.floating)):
        raise DfedgeError(f"{where}: x holds {x.dtype}; allowed: whole or real numbers")
    return x


def _coded(values: NDArray[Any], scale: Scale) -> Images:
    """Of one channel."""
    with np.errstate(over="ignore"):  # an infinity is cut off like any value that is too large
        raw = np.floor(values.astype(np.float64) * 2.0**scale.fraction + 0.5)
    raw = np.clip(raw, -LARGEST_RAW, LARGEST_RAW).astype(np.int64)
    return np.clip(raw * scale.multiplier + scale.offset >> scale.shift, 0, 255).astype(np.uint8)


def _scale(values: NDArray[Any], where: str) -> Scale:
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
    return Scale(fraction, multiplier, round(-first * multiplier) + half, shift)
