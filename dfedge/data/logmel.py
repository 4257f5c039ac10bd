"""Log-mel features of speech in integers alone: the same bytes on every host and device.

    frames of N samples at 8 kHz, 160 apart (20 ms), from the middle of an utterance (`LogMel`)
    spectrum   X_k = sum_n round(2^14 window_n e^(-2 pi i k n / N)) x_n  >> 14,  power |X_k|^2
    mel        E_m = sum_k round(2^8 triangle_mk) |X_k|^2
    loudness   L_m = how many thresholds of an eighth of an octave (0.376 dB) E_m reaches
    feature    127 - min(127, max L - L_m): the loudest cell of the utterance is 127, silence 0

Nothing is rounded but by shifts and comparisons of integers, so no library's FFT or logarithm can
differ in a last bit.  The result is an image uint8 [frames, mels, 1], the feature doubled, so that
a program, which is fed ``byte >> 1``, sees the feature itself.

A device computes the same bytes (``dfedge/native/src/log_mel.c``).  The waves' table of N (N + 2)
numbers is not written down there: each of its numbers is a rounded product of two of `cosines`,
and the loudness's thresholds are those of one octave (`dfedge.data.loudness`).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Images
from dfedge.data.loudness import loudness

RATE = 8000
"""Samples a second."""
HOP = 160
COSINE_BITS, WINDOW_BITS, MEL_BITS = 29, 14, 8
LOWEST_HZ, HIGHEST_HZ = 60.0, 3900.0
RANGE = 127


@dataclass(frozen=True)
class LogMel:
    """The size of features.

    Attributes:
        frame: samples of one frame, a multiple of 4.
        frames, mels: frames of an utterance, and bands of each.
    """

    frame: int
    frames: int
    mels: int

    @property
    def length(self) -> int:
        """Samples of an utterance that are heard."""
        return self.frame + HOP * (self.frames - 1)


SPEECH = LogMel(256, 32, 32)
"""Frames of 32 ms, 0.65 s in all."""
KEYWORDS = LogMel(320, 49, 10)
"""Frames of 40 ms, 1 s in all: as many cells as the features of MLPerf Tiny's keyword spotting."""
LONGEST = max(one.length for one in (SPEECH, KEYWORDS))


def middle(sound: NDArray[np.int16], length: int = LONGEST) -> NDArray[np.int16]:
    """So many samples of one utterance [N]: longer ones lose both ends, shorter ones stand between
    silences.  The middle of a longer middle is the same, where both lengths are even.
    """
    start = (length - len(sound)) // 2
    found = np.zeros(length, np.int16)
    kept = sound[max(0, -start) : max(0, -start) + length]
    found[max(0, start) : max(0, start) + len(kept)] = kept
    return found


def log_mel(sound: NDArray[np.int16], size: LogMel = SPEECH) -> Images:
    """Features of one utterance's `middle`: int16 [N] at 8 kHz -> uint8 [frames, mels, 1]."""
    heard = middle(sound, size.length).astype(np.float64)
    frames = np.array(np.lib.stride_tricks.sliding_window_view(heard, size.frame)[::HOP])
    # Sums below 2^38 are exact in float64, in any order, and much faster than integers'.
    waves = _basis(size.frame)
    cosine, sine = ((frames @ wave).astype(np.int64) >> WINDOW_BITS for wave in waves)
    power = cosine * cosine + sine * sine
    level = loudness(power @ filters(size))
    feature = RANGE - np.minimum(level.max() - level, RANGE)
    feature[level == 0] = 0
    return (2 * feature).astype(np.uint8)[..., None]


@cache
def cosines(frame: int = SPEECH.frame) -> NDArray[np.int64]:
    """One period, round(2^29 cos(2 pi j / N)), int64 [N]."""
    angle = 2 * np.pi * np.arange(frame) / frame
    return np.round(np.cos(angle) * (1 << COSINE_BITS)).astype(np.int64)


@cache
def _basis(frame: int = SPEECH.frame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Windowed cosines and sines, integers in float64 [N, N / 2 + 1].

    No product lies within 1e-4 of a half, so that 29 bits round it as real numbers would.
    """
    period = cosines(frame)
    n = np.arange(frame)[:, None]
    window = period[0] - period[n]  # 2^30 times 1/2 - cos/2
    shift = 2 * COSINE_BITS + 1 - WINDOW_BITS
    angle = n * np.arange(frame // 2 + 1)
    cosine, sine = (
        (window * period[(angle + turned) % frame] + (1 << shift >> 1) >> shift).astype(np.float64)
        for turned in (0, -frame // 4)
    )
    return cosine, sine


@cache
def filters(size: LogMel = SPEECH) -> NDArray[np.int64]:
    """Triangles between points evenly spaced in mel, int64 [N / 2 + 1, mels]."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ))
    points = 700 * (10 ** (np.linspace(low, high, size.mels + 2) / 2595) - 1) * size.frame / RATE
    bins = np.arange(size.frame // 2 + 1)[:, None]
    left, peak, right = points[:-2], points[1:-1], points[2:]
    rising, falling = (bins - left) / (peak - left), (right - bins) / (right - peak)
    triangle = np.maximum(np.minimum(rising, falling), 0)
    return np.round(triangle * (1 << MEL_BITS)).astype(np.int64)
