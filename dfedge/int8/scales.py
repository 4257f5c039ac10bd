"""Power-of-two scales: how exponents become the shifts of the integer step.

An exponent f says ``integer = real * 2^f``.  The input's is `INPUT_EXPONENT`.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

INPUT_EXPONENT = 7
"""Pixels arrive as integers 0..127 that stand for value / 2^7."""


@dataclass(frozen=True)
class Scales:
    """Exponents of one convolution: of its weights, and of the activation that it ends in."""

    weight: int
    activation: int


@dataclass(frozen=True)
class LayerScales:
    """Exponents of one layer.

    Attributes:
        convs: of its convolutions.
        handed: of what the next layer receives; the output's own unless it is normalised.
        gain: one-pass form: by how much the exponent of pooled features exceeds the output's.
        sharpness: one-pass form: what its mean squared distances count in the sum over layers.
        norm_shift: label-plane form: right shift after the normalising multiplier.
    """

    convs: tuple[Scales, ...]
    handed: int
    gain: int = 0
    norm_shift: int = 0
    sharpness: float = 1.0

    @property
    def output(self) -> int:
        """Of the layer's output."""
        return self.convs[-1].activation

    @property
    def pooled(self) -> int:
        """Of what its anchors see, and of its anchors."""
        return self.output + self.gain


def score_exponent(features: int, sharpness: float = 1.0) -> int:
    """e for which 2^e |p - A|^2 is nearest to ``sharpness`` times the mean over d features."""
    return round(math.log2(sharpness / features))


def score_shifts(
    features: list[int], scales: Sequence[LayerScales], counted: Collection[int] | None = None
) -> list[int]:
    """Left shifts that bring the layers' integer scores to one scale, the smallest being 0.

    A layer's score stands for ``2^(e - 2 f)`` of itself, f the exponent of its pooled features and
    e its `score_exponent`.

    Args:
        counted: numbers of the layers that are summed, None: all; others have no shift, and no say
            in what the sum may reach.
    """
    logs = [
        score_exponent(d, own.sharpness) - 2 * own.pooled
        for d, own in zip(features, scales, strict=True)
    ]
    summed = range(len(logs)) if counted is None else counted
    least = min(logs[i] for i in summed)
    return [log - least if i in summed else 0 for i, log in enumerate(logs)]


def energy_shifts(values: list[int], exponents: list[int]) -> list[int]:
    """Right shifts that bring the layers' energies to one scale of mean squares, the smallest 0.

    Args:
        values: numbers in a layer's map.
        exponents: of its activations.
    """
    logs = [-2 * f - round(math.log2(n)) for n, f in zip(values, exponents, strict=True)]
    return [max(logs) - log for log in logs]


def norm_numerator(values: int, handed: int, shift: int) -> int:
    """What `dfedge.int8.ops.normalise` divides by the energy, for a rms of 2^handed."""
    return values << 2 * (handed + shift)
