"""Differential privacy of devices: a merge whose result hides what any one device learned.

clip      each device's difference is one vector, in units of 2^-8.  One that is longer than the
          clip norm C is shortened, its values rounded towards zero: no vector is longer than C
sum       all of one weight, whatever samples they claim
noise     to each value of the sum an integer of the discrete Gaussian of sigma = z C is added
          (`dfedge.fleet.discrete_gaussian`), z being the noise multiplier
mean      the sum over the number of devices; what follows is a function of it and of the base

Everything else of the next base is the base's own: error, phase and rates, which without noise are
medians, and the classes.  Its record counts deltas and rounds, not what devices claim to have
learned.

Two fleets are neighbors if they differ in the differences of one device, which are zeros in one of
the two.  Who takes part, how many, and which tensors each sends is public.  A discrete Gaussian has
at most the Renyi divergence of the continuous one (arXiv 2004.00010), so each round
is accounted as a Gaussian mechanism of noise multiplier z, all rounds by the RDP accountant of the
package dp-accounting.  Devices are not drawn at random, so no round counts as a subsampled one.
"""

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import isqrt
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from dfedge.errors import DfedgeError, UsageError
from dfedge.fleet.discrete_gaussian import Below, discrete_gaussian
from dfedge.fleet.rules import CLIP_BITS, Ints, Moved, Shapes, Voice, Voices, weighted_mean
from dfedge.fleet.words import DP_DELTA, MEAN
from dfedge.limits import MAX_COUNT

LEAST_NOISE, MOST_NOISE = 0.01, 1000.0
LEAST_CLIP, MOST_CLIP = 1.0, 1e6


class Spent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Successive rounds of one noise multiplier, as the file of fractions keeps them."""

    noise_multiplier: Annotated[float, Meta(ge=LEAST_NOISE, le=MOST_NOISE)]
    rounds: Annotated[int, Meta(ge=1, le=MAX_COUNT)]


class Privacy(msgspec.Struct, frozen=True):
    """What a merge hides.

    Attributes:
        noise_multiplier: z, standard deviation of the noise over the clip norm.
        clip_norm: C, L2 norm of a device's whole difference, in units of an int8 value.
        dp_delta: the delta of (epsilon, delta).

    Raises:
        UsageError: values that cannot be.
    """

    noise_multiplier: float
    clip_norm: float
    dp_delta: float = DP_DELTA

    def __post_init__(self) -> None:
        for option, value, least, most in (
            ("--noise-multiplier", self.noise_multiplier, LEAST_NOISE, MOST_NOISE),
            ("--clip-norm", self.clip_norm, LEAST_CLIP, MOST_CLIP),
        ):
            if not least <= value <= most:
                raise UsageError(f"{option} {value:g}: allowed: {least:g} to {most:g}")
        if not 0 < self.dp_delta < 1:
            raise UsageError(f"--dp-delta {self.dp_delta:g}: allowed: above 0 and below 1")

    def check(self, rule: str, late: int) -> None:
        """Refuse what cannot be combined with noise.

        Raises:
            UsageError: one of these.
        """
        if rule != MEAN:
            raise UsageError(
                f"--rule {rule} and --noise-multiplier: give one of them; noise is accounted for "
                f"the {MEAN} of clipped differences alone"
            )
        if late:
            raise UsageError("--late and --noise-multiplier: give one of them")

    def epsilon(self, spent: tuple[Spent, ...]) -> float:
        """Of all rounds together, at ``dp_delta``, for a device that took part in each.

        Raises:
            DfedgeError: the accountant is not installed.
        """
        try:
            import dp_accounting as dp
            from dp_accounting.rdp import RdpAccountant
        except ImportError as error:
            raise DfedgeError(
                "noise is accounted by a package; pip install 'dfedge[privacy]'"
            ) from error
        accountant = RdpAccountant()
        for one in spent:
            accountant.compose(dp.GaussianDpEvent(one.noise_multiplier), one.rounds)
        return float(accountant.get_epsilon(self.dp_delta))

    def after(self, spent: tuple[Spent, ...]) -> tuple[Spent, ...]:
        """What is spent after one more round."""
        z = self.noise_multiplier
        if spent and spent[-1].noise_multiplier == z:
            return (*spent[:-1], Spent(z, spent[-1].rounds + 1))
        return (*spent, Spent(z, 1))

    def rule(self, below: Below) -> Callable[[Voices, Shapes, int], Moved]:
        """The merge's rule, as those of `dfedge.fleet.rules`."""
        longest = int(self.clip_norm * (1 << CLIP_BITS))
        variance = (Fraction(str(self.noise_multiplier)) * longest) ** 2

        def noise(shape: tuple[int, ...]) -> Ints:
            count = int(np.prod(shape))
            drawn = [discrete_gaussian(variance, below) for _ in range(count)]
            return np.array(drawn, np.int64).reshape(shape)

        def private(voices: Voices, shapes: Shapes, bits: int) -> Moved:
            def clipped() -> Iterator[tuple[Voice, int, dict[str, Ints]]]:
                for voice in voices():
                    yield voice, 1, clip(voice, longest)

            return weighted_mean(clipped(), shapes, bits, CLIP_BITS, noise)

        return private


def clip(voice: Voice, longest: int) -> dict[str, Ints]:
    """A device's difference in units of 2^-CLIP_BITS, as a vector no longer than ``longest``."""
    wide = {name: move.astype(np.int64) << CLIP_BITS for name, move in voice.moves.items()}
    square = sum(int((move**2).sum()) for move in wide.values())
    if square <= longest**2:
        return wide
    norm = isqrt(square - 1) + 1  # rounded up, so that the quotient is never above the true one
    return {name: np.sign(move) * (np.abs(move) * longest // norm) for name, move in wide.items()}


def for_simulation(seed: int, number: int) -> Below:
    """Chance of a seed, so that a simulation can be repeated; it hides nothing."""
    return random.Random(f"{seed}/{number}").randrange
