"""Recordings: WAV files at the one rate that the features are defined for."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfedge.data.logmel import RATE
from dfedge.errors import DfedgeError, foreign
from dfedge.regular import open_file


def read_wav(path: Path) -> NDArray[np.int16]:
    """One recording, int16 [N] at the model's rate.

    Raises:
        DfedgeError: not a WAV file of one channel of 16 bits at 8 kHz.
    """
    with foreign(path, "a WAV file"), open_file(path) as raw_file, wave.open(raw_file) as file:
        found = (file.getframerate(), file.getnchannels(), 8 * file.getsampwidth())
        raw = file.readframes(file.getnframes())
    if found != (RATE, 1, 16):
        raise DfedgeError(
            f"{path}: {found[0]} samples a second, {found[1]} channel(s) of {found[2]} bits; the "
            f"model reads {RATE} a second, one channel of 16 bits: convert it"
        )
    return np.frombuffer(raw[: len(raw) // 2 * 2], "<i2")  # a cut file may end in half a sample
