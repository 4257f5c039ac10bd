"""The two roundings of the integer semantics, shared by fake quantisation and the integer step.

Updates round the magnitude and put the sign back, so that no negative number is ever shifted:
runtimes disagree on what that means.
"""

import torch
from torch import Tensor

GOLDEN = 40503
"""round(2^16 / golden ratio): how far the dither's phase moves with every training step."""

DITHER_BITS = 16
DITHER_MASK = (1 << DITHER_BITS) - 1

LATTICE = (53685, 43977, 36025)
"""Steps of the dither along the last three axes of a tensor: the fractional parts of 1/g, 1/g^2
and 1/g^3 (g^4 = g + 1) in units of 2^-16, made odd, so that neighbours get far-apart thresholds."""


def round_half_up(value: Tensor) -> Tensor:
    """Round floats to the nearest integer, halves upward: the rounding of every activation."""
    return torch.floor(value + 0.5)


def dither(shape: tuple[int, ...], phase: Tensor) -> Tensor:
    """Thresholds of one update: int32 of ``shape`` (up to three axes), each in [0, 2^16).

    ``r[i, j, k] = (53685 i + 43977 j + 36025 k + phase) mod 2^16``, a rank-one lattice over the
    weights.  ``phase`` (int32 scalar, state) advances by `GOLDEN` after every step, so each weight
    sees an equidistributed (Weyl) sequence over time: an update of a third of a step moves it
    every third time, and more evenly than independent random numbers would.
    """
    total = phase.reshape([1] * len(shape))
    for axis, (size, stride) in enumerate(zip(shape, LATTICE[-len(shape) :], strict=True)):
        ramp = torch.arange(size, dtype=torch.int32) * stride  # below 2^31 for size < 40,000
        total = total + ramp.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return total & DITHER_MASK


def advance(phase: Tensor) -> Tensor:
    """The dither's phase of the next step: int32 scalar in [0, 2^16)."""
    return (phase + GOLDEN) & DITHER_MASK
