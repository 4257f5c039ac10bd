"""Calibration: from what a float net's layers show on samples to power-of-two scales."""

import math

import torch
from torch import Tensor

from dfedge.int8.ops import ACTIVATION_MAX
from dfedge.int8.rounding import round_half_up
from dfedge.int8.scales import INPUT_EXPONENT, Scales, activation_shift
from dfedge.learn.forms.onepass import pixels
from dfedge.learn.net import Net
from dfedge.learn.recipe import Observer, Recipe

MAX_ACTIVATION_SHIFT = 24


def range_exponent(largest: float, high: int = ACTIVATION_MAX) -> int:
    """The largest exponent f with ``largest * 2^f <= high``."""
    return math.floor(math.log2(high / max(largest, 2.0**-20)))


def mse_exponent(values: Tensor, low: int, high: int) -> int:
    """The exponent that loses least by rounding and saturation: the range's own or four finer."""
    widest = range_exponent(float(values.abs().max()), high)

    def loss(exponent: int) -> float:
        integers = round_half_up(values * 2.0**exponent).clamp(low, high)
        return float((integers * 2.0**-exponent - values).square().mean())

    return min(range(widest, widest + 5), key=loss)


def observe(values: Tensor, observer: Observer, percentile: float, low: int, high: int) -> int:
    """The exponent that an observer chooses for float values, integers being low..high."""
    if observer == "mse":
        return mse_exponent(values, low, high)
    magnitudes = values.abs().flatten()
    if observer == "percentile":
        rank = max(1, math.ceil(len(magnitudes) * percentile / 100))
        return range_exponent(float(magnitudes.kthvalue(rank).values), high)
    return range_exponent(float(magnitudes.max()), high)


@torch.no_grad()
def calibrate(net: Net, x: Tensor, recipe: Recipe) -> tuple[Scales, ...]:
    """Choose every layer's scales from samples: x pixels 0..127, [N, C, H, W].

    Activations are observed together with the layer's anchors, which share their exponent.  The net
    is left in evaluation mode, its `scales` as they were.
    """
    net.eval()
    scales, exponent = [], INPUT_EXPONENT
    largest = (1 << net.weight_bits - 1) - 1
    for i, h in enumerate(net.activations(pixels(x))):
        weight, _ = net.units[i].first.folded()
        seen = torch.cat([h.flatten(), net.one_pass.anchors[i].clamp(min=0).flatten()])
        chosen = Scales(
            weight=observe(weight, recipe.weights, 100.0, -largest, largest),
            activation=observe(seen, recipe.activations, recipe.percentile, 0, ACTIVATION_MAX),
        )
        chosen = _within_shift(chosen, exponent)
        scales.append(chosen)
        exponent = chosen.activation
    return tuple(scales)


def _within_shift(scales: Scales, input_exponent: int) -> Scales:
    """Keep the activation shift in 0..24: the weights' exponent gives way."""
    shift = activation_shift(scales, input_exponent)
    allowed = min(max(shift, 0), MAX_ACTIVATION_SHIFT)
    return Scales(scales.weight + allowed - shift, scales.activation)
