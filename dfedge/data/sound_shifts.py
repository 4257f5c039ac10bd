"""Shifts of sounds, on codes [N, frames, mels, 1]: what features show of another place or device.

A code is twice a feature (`dfedge.data.logmel`), and a feature counts eighths of an octave of
energy below the loudest cell of the utterance.  So a gain changes nothing: it is not a shift.  What
happens below the quietest cell that is told apart, 48 dB down, is not known and stays as it is.
"""

import math
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Images
from dfedge.data.logmel import HOP, RANGE, RATE
from dfedge.data.loudness import STEPS

DECIBELS = 10 * math.log10(2) / STEPS
"""Of a step of a feature."""
VALUES = 4
"""Independent values that make up a cell's energy: by them noise wavers from cell to cell."""


def noise(x: Images, decibels: float) -> Images:
    """Steady noise, in every cell so far below the loudest: it fills up what is quieter.

    It is drawn anew for other samples.
    """
    drawn = np.random.default_rng(zlib.crc32(x.tobytes())).gamma(VALUES, 1 / VALUES, x.shape)
    energy = 2.0 ** (_features(x) / STEPS)
    heard = energy + drawn * 2.0 ** ((RANGE - decibels / DECIBELS) / STEPS)
    return _codes(STEPS * np.log2(heard))


def later(x: Images, milliseconds: float) -> Images:
    """Every frame comes so much later, to whole frames; silence stands before it."""
    frames = round(milliseconds * RATE / 1000 / HOP)
    moved = np.zeros_like(x)
    kept = max(x.shape[1] - abs(frames), 0)
    here, there = max(frames, 0), max(-frames, 0)
    moved[:, here : here + kept] = x[:, there : there + kept]
    return _codes(_features(moved))


def muffled(x: Images, decibels: float) -> Images:
    """A cover over the microphone: the highest band loses so much, the lowest nothing."""
    lost = np.linspace(0, decibels / DECIBELS, x.shape[2])[:, None]
    return _codes(_features(x) - lost)


def _features(x: Images) -> NDArray[np.float64]:
    return x / 2.0


def _codes(features: NDArray[np.float64]) -> Images:
    """The loudest cell of each utterance is full again; silence stays silence."""
    loudest = features.max((1, 2, 3), keepdims=True)
    full = np.where(loudest > 0, features + (RANGE - loudest), 0)
    full[features <= 0] = 0
    return (2 * np.clip(np.round(full), 0, RANGE)).astype(np.uint8)


CHANGES: dict[str, Callable[..., Images]] = {"noise": noise, "later": later, "muffled": muffled}
"""Name -> what it makes of codes and its numbers."""
