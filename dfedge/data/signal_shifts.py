"""Shifts of signals: what happens to a sensor that is worn otherwise, grows old, or is replaced.

All work on codes [N, T, 1, C], in units of the signal, and are cut off where the rule's range ends,
as the device cuts them off.
"""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Images

Change = Callable[[NDArray[np.float64]], NDArray[np.float64]]
AXES = 3
"""Of a sensor that measures in space."""
IN_SPACE = ("turn", "upside-down")
"""Changes of such sensors alone."""


def moved(change: Change, zero: NDArray[Any], step: NDArray[Any]) -> Callable[[Images], Images]:
    """A change of values [N, T, C] as a function on codes.

    Args:
        zero, step: code of 0 and codes a unit, of each channel [C]; a step of 0 leaves a channel.
    """
    still = step == 0
    each = np.where(still, 1.0, step)

    def shift(x: Images) -> Images:
        values = (x[:, :, 0].astype(np.float64) - zero) / each
        codes = np.where(still, x[:, :, 0], change(values) * each + zero)
        return np.clip(np.round(codes), 0, 255).astype(np.uint8)[:, :, None]

    return shift


def gain(_: NDArray[Any], factor: float) -> Change:
    """Every value times a factor."""
    return lambda x: x * factor


def offset(half: NDArray[Any], share: float) -> Change:
    """Every channel moved by a share of half its range, ``half`` [C]."""
    return lambda x: x + share * half


def noise(half: NDArray[Any], share: float) -> Change:
    """Noise whose standard deviation is a share of half the range, ``half`` [C].

    It is drawn anew for other samples.
    """

    def change(x: NDArray[np.float64]) -> NDArray[np.float64]:
        drawn = np.random.default_rng(zlib.crc32(x.tobytes())).normal(0, share, x.shape)
        return x + drawn * half

    return change


def turn(_: NDArray[Any], degrees: float) -> Change:
    """Sensors of three axes turned about their third one."""
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)

    def change(x: NDArray[np.float64]) -> NDArray[np.float64]:
        y = x.copy()
        for a in range(0, x.shape[2], AXES):
            y[..., a] = cos * x[..., a] - sin * x[..., a + 1]
            y[..., a + 1] = sin * x[..., a] + cos * x[..., a + 1]
        return y

    return change


def upside_down(_: NDArray[Any]) -> Change:
    """Sensors of three axes turned over: the second and the third axis point the other way."""

    def change(x: NDArray[np.float64]) -> NDArray[np.float64]:
        signs = np.resize([1.0, -1.0, -1.0], x.shape[2])
        return x * signs

    return change


def stretch(_: NDArray[Any], factor: float) -> Change:
    """Time runs so many times as slowly, about the window's middle; its ends are held."""

    def change(x: NDArray[np.float64]) -> NDArray[np.float64]:
        last = x.shape[1] - 1
        at = np.clip((np.arange(last + 1) - last / 2) / factor + last / 2, 0, last)
        low = np.floor(at).astype(int)
        part = (at - low)[:, None]
        return x[:, low] * (1 - part) + x[:, np.minimum(low + 1, last)] * part

    return change


CHANGES: dict[str, Callable[..., Change]] = {
    "gain": gain, "offset": offset, "noise": noise, "turn": turn, "upside-down": upside_down,
    "stretch": stretch,
}  # fmt: skip
"""Name -> the change, of half the range of each channel [C] and the shift's numbers."""
