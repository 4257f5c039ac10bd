"""A microphone as a source of lines, each a twentieth of a second (`dfedge.data.live.sounds`)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dfedge.data.logmel import RATE
from dfedge.errors import ResourceError, UsageError

MICROPHONE = "mic"
"""The word for it."""
PIECE = RATE // 20
"""Samples; its line is short enough to be written to a pipe wholly or not at all."""
LOST = b"lost\n"
"""A line that is not a piece, so that no utterance lies across a gap."""


@contextmanager
def microphone() -> Iterator[int]:
    """A descriptor to read lines from, of the machine's own microphone.

    Raises:
        UsageError: the package sounddevice, or the library that it needs, is not installed.
        ResourceError: there is no microphone, or none that gives 8 kHz in 16 bits.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # its library is missing
        raise UsageError(
            f"--source {MICROPHONE} needs the package sounddevice ({error}): pip install "
            "sounddevice (Debian also: apt-get install libportaudio2)"
        ) from error
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    gap = [False]

    def heard(data: Any, frames: int, time: Any, status: Any) -> None:
        gap[0] = gap[0] or bool(status)
        line = " ".join(map(str, np.frombuffer(data, np.int16).tolist())).encode() + b"\n"
        try:
            if gap[0]:
                os.write(writing, LOST)
                gap[0] = False
            os.write(writing, line)
        except BlockingIOError:  # nobody reads as fast
            gap[0] = True

    try:
        with sounddevice.RawInputStream(
            samplerate=RATE, channels=1, dtype="int16", blocksize=PIECE, callback=heard
        ):
            yield reading
    except sounddevice.PortAudioError as error:
        raise ResourceError(f"--source {MICROPHONE}: {error}; plug one in, or free it") from error
    finally:
        os.close(reading)
        os.close(writing)
