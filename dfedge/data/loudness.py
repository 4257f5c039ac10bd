"""The loudness of an energy, in eighths of an octave (0.376 dB), by comparisons of integers alone.

``dfedge/native/src/loudness.h`` is the same in C.
"""

from functools import cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

OCTAVES, STEPS = 62, 8
"""Of an energy, and thresholds in each of them."""


def loudness(energy: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the thresholds floor(2^(j/8)), j = 0, 1, ..., energies below 2^62 reach."""
    return np.searchsorted(_thresholds(), energy, side="right")


@cache
def octave() -> NDArray[np.int64]:
    """The last octave's thresholds, floor(2^(61 + r/8)), int64 [STEPS].

    An eighth root is three square roots, exact in integers.
    """
    powers = (1 << STEPS * (OCTAVES - 1) + r for r in range(STEPS))
    return np.array([isqrt(isqrt(isqrt(power))) for power in powers], np.int64)


@cache
def _thresholds() -> NDArray[np.int64]:
    """All of them, int64 [OCTAVES * STEPS]."""
    return np.concatenate([octave() >> OCTAVES - 1 - q for q in range(OCTAVES)])
