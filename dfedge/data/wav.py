"""Recordings: WAV files at the one rate that the features are defined for."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfedge.data.logmel import RATE
from dfedge.errors import DfedgeError, foreign
from dfedge.regular import open_file

SUFFIX = ".wav"
BITS = 16


def read_wav(path: Path) -> NDArray[np.int16]:
    """One recording, int16 [N] at the model's rate.

    Raises:
        DfedgeError: not a WAV file of one channel of 16 bits at 8 kHz, an empty or a cut one.
    """
    with foreign(path, "a WAV file"), open_file(path) as raw_file, wave.open(raw_file) as file:
        found = (file.getframerate(), file.getnchannels(), 8 * file.getsampwidth())
        said = file.getnframes()
        raw = file.readframes(said) if found == (RATE, 1, BITS) else b""
    if found != (RATE, 1, BITS):
        raise DfedgeError(
            f"{path}: {found[0]} samples a second, {found[1]} channel(s) of {found[2]} bits; the "
            f"model reads {RATE} a second, one channel of {BITS} bits: convert it"
        )
    held = len(raw) * 8 // BITS
    if held < said:
        raise DfedgeError(f"{path}: cut: {held:,} of {said:,} samples are there; record it again")
    if not held:
        raise DfedgeError(f"{path}: a recording without a sample; record it again, or remove it")
    return np.frombuffer(raw, "<i2")
