"""The two roundings of the integer semantics, shared by fake quantisation and the integer step.

Updates round the magnitude and put the sign back, so that no negative number is ever shifted:
runtimes disagree on what that means.
"""

import torch
from torch import Tensor

from dfedge.dither import BITS, GOLDEN, LATTICE, MASK

DITHER_BITS, DITHER_MASK = BITS, MASK


def round_half_up(value: Tensor) -> Tensor:
    """Round floats to the nearest integer, halves upward: the rounding of every activation."""
    return torch.floor(value + 0.5)


def dither(shape: tuple[int, ...], phase: Tensor) -> Tensor:
    """Thresholds of one update: int32 of ``shape`` (up to three axes), each in [0, 2^16).

    See `dfedge.dither`.  ``phase`` is an int32 scalar.  An update of a third of a step moves a
    weight every third time, and more evenly than independent random numbers would.
    """
    total = phase.reshape([1] * len(shape))
    for axis, (size, stride) in enumerate(zip(shape, LATTICE[-len(shape) :], strict=True)):
        ramp = torch.arange(size, dtype=torch.int32) * stride  # below 2^31 for size < 40,000
        total = total + ramp.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return total & DITHER_MASK


def advance(phase: Tensor) -> Tensor:
    """The dither's phase of the next step: int32 scalar in [0, 2^16)."""
    return (phase + GOLDEN) & DITHER_MASK
