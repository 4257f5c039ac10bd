"""Log-mel features of speech in integers alone: the same bytes on every host and device.

    frames of 256 samples (32 ms at 8 kHz), 32 of them, 160 apart (20 ms), from the middle 0.65 s
    spectrum   X_k = sum_n round(2^14 window_n e^(-2 pi i k n / 256)) x_n  >> 14,  power |X_k|^2
    mel        E_m = sum_k round(2^8 triangle_mk) |X_k|^2
    loudness   L_m = how many thresholds of an eighth of an octave (0.376 dB) E_m reaches
    feature    127 - min(127, max L - L_m): the loudest cell of the utterance is 127, silence 0

Nothing is rounded but by shifts and comparisons of integers, so no library's FFT or logarithm can
differ in a last bit.  The result is an image uint8 [32, 32, 1] (frames, mels), the feature doubled,
so that a program, which is fed ``byte >> 1``, sees the feature itself.

A device computes the same bytes (``dfedge/native/src/log_mel.c``).  The waves' table of 66,048
numbers is not written down there: each of its numbers is a rounded product of two of `cosines`,
and the loudness's thresholds are those of one octave, shifted (`octave`).
"""

from functools import cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Images

RATE = 8000
"""Samples a second."""
FRAME, HOP, FRAMES, MELS = 256, 160, 32, 32
LENGTH = FRAME + HOP * (FRAMES - 1)
COSINE_BITS, WINDOW_BITS, MEL_BITS = 30, 14, 8
OCTAVES, STEPS = 62, 8
"""Of an energy, and thresholds in each of them."""
LOWEST_HZ, HIGHEST_HZ = 60.0, 3900.0
RANGE = 127


def log_mel(sound: NDArray[np.int16]) -> Images:
    """Features of one utterance: int16 [N] at 8 kHz -> uint8 [32, 32, 1].

    Longer ones lose both ends, shorter ones stand between silences.
    """
    start = (LENGTH - len(sound)) // 2
    middle = np.zeros(LENGTH)
    kept = sound[max(0, -start) : max(0, -start) + LENGTH]
    middle[max(0, start) : max(0, start) + len(kept)] = kept
    frames = np.array(np.lib.stride_tricks.sliding_window_view(middle, FRAME)[::HOP])
    # Sums below 2^37 are exact in float64, in any order, and much faster than integers'.
    cosine, sine = ((frames @ wave).astype(np.int64) >> WINDOW_BITS for wave in _basis())
    power = cosine * cosine + sine * sine
    loudness = np.searchsorted(_thresholds(), power @ filters(), side="right")
    feature = RANGE - np.minimum(loudness.max() - loudness, RANGE)
    feature[loudness == 0] = 0
    return (2 * feature).astype(np.uint8)[..., None]


@cache
def cosines() -> NDArray[np.int64]:
    """One period, round(2^30 cos(2 pi j / 256)), int64 [FRAME]."""
    angle = 2 * np.pi * np.arange(FRAME) / FRAME
    return np.round(np.cos(angle) * (1 << COSINE_BITS)).astype(np.int64)


@cache
def _basis() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Windowed cosines and sines, integers in float64 [FRAME, FRAME / 2 + 1].

    No product lies within 1e-4 of a half, so that 30 bits round it as real numbers would.
    """
    period = cosines()
    n = np.arange(FRAME)[:, None]
    window = period[0] - period[n]  # 2^31 times 1/2 - cos/2
    shift = 2 * COSINE_BITS + 1 - WINDOW_BITS
    angle = n * np.arange(FRAME // 2 + 1)
    cosine, sine = (
        (window * period[(angle + turned) % FRAME] + (1 << shift >> 1) >> shift).astype(np.float64)
        for turned in (0, -FRAME // 4)
    )
    return cosine, sine


@cache
def filters() -> NDArray[np.int64]:
    """Triangles between points evenly spaced in mel, int64 [FRAME / 2 + 1, MELS]."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ))
    points = 700 * (10 ** (np.linspace(low, high, MELS + 2) / 2595) - 1) * FRAME / RATE
    bins = np.arange(FRAME // 2 + 1)[:, None]
    left, middle, right = points[:-2], points[1:-1], points[2:]
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    triangle = np.maximum(np.minimum(rising, falling), 0)
    return np.round(triangle * (1 << MEL_BITS)).astype(np.int64)


@cache
def octave() -> NDArray[np.int64]:
    """The last octave's thresholds, floor(2^(61 + r/8)), int64 [STEPS].

    An eighth root is three square roots, exact in integers.
    """
    powers = (1 << STEPS * (OCTAVES - 1) + r for r in range(STEPS))
    return np.array([isqrt(isqrt(isqrt(power))) for power in powers], np.int64)


@cache
def _thresholds() -> NDArray[np.int64]:
    """floor(2^(j/8)) for j = 0, 1, ..., int64 [OCTAVES * STEPS]."""
    return np.concatenate([octave() >> OCTAVES - 1 - q for q in range(OCTAVES)])
