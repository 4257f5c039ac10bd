"""Windows of signals [T, C], and vectors [C]: sensors, sound, rows of a table.

A value becomes a code in two steps, in integers from the first one on:

1. ``raw``: a whole number as it is; a real one in fixed point, ``floor(value 2^fraction + 1/2)``;
2. ``code = (raw multiplier + offset) >> shift``, kept in 0..255, by each channel's own numbers.

A device that reads its sensor in the same units does the second step alone (``dfe_window_input``
in C).  A net may be fed `FEATURES` of windows instead: these have scales of their own.
The range of a channel is read off training samples: from their percentile 0.5 to 99.5, and a
sixteenth of that on either side, so that single spikes do not cost the others their resolution.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from dfedge.data.dataset import Images
from dfedge.data.inputs.rule import InC, InputRule, Shift, Units
from dfedge.data.inputs.scale import ChannelScale, in_c, scale_of
from dfedge.data.inputs.spectrum import Spectrum
from dfedge.data.inputs.statistics import Statistics
from dfedge.data.shift_forms import SIGNALS, ShiftForm
from dfedge.data.signal_shifts import AXES, CHANGES, IN_SPACE, moved
from dfedge.errors import DfedgeError, UsageError

LONGEST, MOST_CHANNELS = 4096, 4096
Features = Spectrum | Statistics
FEATURES: dict[str, type[Features]] = {one.word: one for one in (Spectrum, Statistics)}
"""Word -> what is computed from windows."""


class WindowRule(
    InputRule, msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind",
    tag="window", omit_defaults=True,
):  # fmt: skip
    """The windows that a model reads; a vector is a window of length 1.

    Attributes:
        length: T, samples in time.
        scales: of each channel.
        names: of the channels; none where the data have none.
        features: that are computed from windows; None: a net is fed the windows themselves.
        plane: a net sees a window as a grey picture, [T, C, 1], with one scale for all channels.
    """

    length: Annotated[int, Meta(ge=1, le=LONGEST)]
    scales: Annotated[tuple[ChannelScale, ...], Meta(min_length=1, max_length=MOST_CHANNELS)]
    names: tuple[str, ...] = ()
    features: Features | None = None
    plane: bool = False

    sample: ClassVar[str] = "a window"
    samples: ClassVar[str] = "the windows"
    shifts: ClassVar[Mapping[str, ShiftForm]] = SIGNALS
    drift: ClassVar[Mapping[str, str]] = {"gain": "0.5", "offset": "0.2"}
    known_features: ClassVar[tuple[str, ...]] = tuple(FEATURES)

    def __post_init__(self) -> None:
        if self.names and len(self.names) != len(self.scales):
            raise ValueError(f"{len(self.names)} names of {len(self.scales)} channels")
        if self.features and not self.features.fits(self.length, len(self.scales)):
            raise ValueError(f"no {self.features.word} of {self}")
        if self.plane and (self.features or len(set(self.scales)) > 1):
            raise ValueError("plane: one scale for all channels, and no features")

    @property
    def shape(self) -> tuple[int, int, int]:
        """[T, 1, C] of windows, or [T, C, 1]; that of the features where there are some."""
        if self.features:
            return self.features.shape(len(self.scales))
        if self.plane:
            return self.length, len(self.scales), 1
        return self.length, 1, len(self.scales)

    @property
    def net(self) -> str:
        """See `InputRule`."""
        if self.features:
            return self.features.net
        return "vector" if self.length == 1 else "imu"

    def featured(self, word: str, x: NDArray[Any] | None = None) -> Self:
        """See `InputRule`."""
        kind = FEATURES[self.known(word)]
        if self.length < kind.least:
            raise DfedgeError(
                f"features '{word}': of {self} there are none; allowed: windows of at least "
                f"{kind.least} samples (--window)"
            )
        assert x is not None
        x = as_windows(x, self.samples)
        levels = self._levels(x[~self.unusable(x)])
        return msgspec.structs.replace(self, features=kind.suited(levels))

    def sized(self, shape: Sequence[int | None], x: NDArray[Any] | None = None) -> Self:
        """As a picture, where a net takes [T, C, 1] or any picture of one channel."""
        channels = len(self.scales)
        pictures = ((self.length, channels, 1), (None, None, 1))
        if x is None or channels == 1 or tuple(shape) not in pictures:
            return self
        scale = scale_of(x.reshape(-1), "all channels")
        return msgspec.structs.replace(self, scales=(scale,) * channels, plane=True)

    def apply(self, x: NDArray[Any], where: str) -> Images:
        """Windows [N, T, C], of one channel also [N, T], vectors also [N, C]; see `InputRule`."""
        if x.dtype == np.uint8 and x.ndim == 4 and x.shape[1:] == self.shape:
            return x
        x = as_windows(x, where, self.length == 1)
        length, channels = x.shape[1:]
        if (length, channels) != (self.length, len(self.scales)):
            raise DfedgeError(
                f"{where}: {described(length, channels)}; the model reads "
                f"{described(self.length, len(self.scales))}"
            )
        bad = np.flatnonzero(self.unusable(x))
        if len(bad):
            raise DfedgeError(
                f"{where}: a value of sample {bad[0]} is not finite ({len(bad)} of {len(x)} "
                "samples hold one); remove them, or skip them with --on-bad-sample skip"
            )
        if self.features:
            return _coded(self.features.values(self._levels(x)), self.features.scales)
        return _coded(self._raw(x), self.scales).reshape(-1, *self.shape)

    def _raw(self, x: NDArray[Any]) -> NDArray[np.int64]:
        return np.stack([one.raw(x[..., c]) for c, one in enumerate(self.scales)], -1)

    def _levels(self, x: NDArray[Any]) -> NDArray[np.int16]:
        raw = self._raw(x)
        return np.stack([one.levels(raw[..., c]) for c, one in enumerate(self.scales)], -1)

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
                f"{described(length, channels)}; allowed: at most {LONGEST:,} samples and "
                f"{MOST_CHANNELS:,} channels"
            )
        called = names or [f"channel {c}" for c in range(channels)]
        scales = (scale_of(x[..., c].reshape(-1), called[c]) for c in range(channels))
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

    def units(self, x: NDArray[Any]) -> Units | None:
        """Of windows; None of features. A channel that never changed is what it was."""
        if self.features:
            return None
        zero, codes = _codes_of(self.scales)
        step = np.divide(1, codes, out=np.zeros_like(codes), where=codes > 0)
        x = as_windows(x, self.samples, vectors=True).reshape(-1, len(self.scales))
        low = np.where(codes > 0, -zero * step, x[0])
        return Units(low[:1], step[:1]) if self.plane else Units(low, step)

    def in_c(self) -> InC:
        """Of readings in fixed point: see `InputRule`."""
        units = ", ".join(f"2^{-one.fraction}" if one.fraction else "1" for one in self.scales)
        includes, tables = ["window.h"], [in_c(self.scales, "scales")]
        call = f"dfe_window_input(scales, {self.length}, {len(self.scales)}, raw, x);"
        if self.features:
            more, call = self.features.in_c(self.length)
            includes, tables = [*includes, self.features.header], [*tables, more]
        return InC(
            tuple(includes),
            f"One window of readings [T, C], whole numbers; the unit of each channel: {units}.",
            "void net_input(const int32_t *raw, int8_t *x)",
            "\n".join(tables),
            f"    {call}",
        )

    def shift(self, name: str, numbers: list[float]) -> Shift:
        """See `InputRule`."""
        if self.features:
            change = self.features.shift(name, numbers, self.scales)
            if change is None:
                raise UsageError(
                    f"{name}: not of windows that are read as their {self.features.word}; there "
                    "gain and offset are known"
                )
            return moved(change, *_codes_of(self.features.scales))
        if name in IN_SPACE and len(self.scales) % AXES:
            raise UsageError(
                f"{name} is for sensors of {AXES} axes; {self.samples} have {len(self.scales)} "
                "channels"
            )
        zero, step = _codes_of(self.scales)
        half = np.divide(127.5, step, out=np.zeros_like(step), where=step > 0)
        own = moved(CHANGES[name](half, *numbers), zero, step)
        return lambda x: own(x.reshape(len(x), self.length, 1, -1)).reshape(x.shape)

    def __str__(self) -> str:
        """``windows of 128 samples of 6 channels``."""
        return described(self.length, len(self.scales))


def described(length: int, channels: int) -> str:
    """What samples [T, C] are, in words."""
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


def _coded(values: NDArray[np.int64], scales: tuple[ChannelScale, ...]) -> Images:
    """Values [N, H, C] as codes [N, H, 1, C]."""
    return np.stack([one.codes(values[..., c]) for c, one in enumerate(scales)], -1)[:, :, None]


def _codes_of(scales: tuple[ChannelScale, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Codes of 0, and codes a unit, of each channel [C]."""
    return np.array([one.zero for one in scales]), np.array([one.step for one in scales])
