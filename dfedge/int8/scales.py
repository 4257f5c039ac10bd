"""Power-of-two scales: how exponents become the shifts of the integer step.

An exponent f says ``integer = real * 2^f``.  Weights carry one exponent a layer, activations and
anchors another; the input's is `INPUT_EXPONENT`.
"""

import math
from dataclasses import dataclass

INPUT_EXPONENT = 7
"""Pixels arrive as integers 0..127 that stand for value / 2^7."""


@dataclass(frozen=True)
class Scales:
    """Exponents of one layer: of its weights, and of its activations and anchors."""

    weight: int
    activation: int


def activation_shift(scales: Scales, input_exponent: int) -> int:
    """Right shift from the accumulator (weight x input) to the layer's activations."""
    return scales.weight + input_exponent - scales.activation


def score_shifts(features: list[int], exponents: list[int]) -> list[int]:
    """Left shifts that bring the layers' integer scores to one scale, the smallest being 0.

    A layer's score stands for ``2^(-2 f) / d`` of a mean squared distance, f the exponent of its
    activations and d its number of features; d is taken to the nearest power of two.
    """
    logs = [-2 * f - round(math.log2(d)) for d, f in zip(features, exponents, strict=True)]
    return [log - min(logs) for log in logs]
