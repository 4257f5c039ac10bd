"""Calibration: from what a float net's layers show on samples to power-of-two scales."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from dfedge.int8.bounds import PEAK, most_gain
from dfedge.int8.ops import ACTIVATION_MAX
from dfedge.int8.rounding import round_half_up
from dfedge.int8.scales import INPUT_EXPONENT, LayerScales, Scales, score_shifts
from dfedge.learn.lean import pool_cells
from dfedge.learn.net import Net
from dfedge.learn.recipe import Observer, Recipe
from dfedge.state import DEAD_SCORE

MAX_ACTIVATION_SHIFT = 24
TYPICAL_MULTIPLIER = 90
"""Of `dfedge.int8.ops.normalise` for a map of median energy: 1 % steps, and room up to 255."""


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
def calibrate(net: Net, x: Tensor, recipe: Recipe) -> tuple[LayerScales, ...]:
    """Choose every layer's scales from samples: x pixels 0..127, [N, C, H, W].

    The net is left in evaluation mode, its `scales` as they were.
    """
    net.eval()
    before, net.scales = net.scales, None
    scales: list[LayerScales] = []
    a, exponent = net.form.sample(x), INPUT_EXPONENT
    for i, unit in enumerate(net.units):
        outputs = unit.outputs(a)
        convs: list[Scales] = []
        for j, h in enumerate(outputs):
            inner = 0 < j < unit.chain
            received = convs[j - 1].activation if inner else exponent
            convs.append(_convolution(net, i, j, h.flatten(), received, recipe))
        h = outputs[-1]
        a = net.form.hand_on(i, unit, h)
        scales.append(_normed(h, convs, recipe) if net.plane else _pooled(net, i, h, convs))
        exponent = scales[-1].handed
    net.scales = before
    if not net.plane and net.one_pass.log_sharpness:
        scales = summable([anchors.shape[1] for anchors in net.one_pass.anchors], scales)
    return tuple(scales)


def summable(features: list[int], scales: list[LayerScales]) -> list[LayerScales]:
    """As sharp as the int32 sum of all scores holds: what is largest in it gives way, by halves.

    Args:
        features: of each layer's anchors.
    """
    scales = list(scales)
    while True:
        shifts = score_shifts(features, scales)
        parts = [(PEAK * d) << shift for d, shift in zip(features, shifts, strict=True)]
        if sum(parts) < -DEAD_SCORE or not any(shifts):
            return scales
        largest = max(range(len(parts)), key=lambda i: parts[i] if shifts[i] else 0)
        scales[largest] = replace(scales[largest], sharpness=scales[largest].sharpness / 2)


def _convolution(net: Net, i: int, j: int, seen: Tensor, received: int, recipe: Recipe) -> Scales:
    weight, _ = net.units[i].conv(j).folded()
    largest = (1 << net.weight_bits - 1) - 1
    chosen = Scales(
        weight=observe(weight, recipe.weights, 100.0, -largest, largest),
        activation=observe(seen, recipe.activations, recipe.percentile, 0, ACTIVATION_MAX),
    )
    return _within_shift(chosen, received)


def _pooled(net: Net, i: int, h: Tensor, convs: list[Scales]) -> LayerScales:
    """The one-pass form's: a gain with which pooled features and anchors still fit, all of them.

    Means over a cell are far smaller than the peaks that the activations' exponent leaves room for:
    without a gain trained anchors differ by one or two integers, too few to learn by.  The range
    is taken whole under every recipe, as learning moves both.
    """
    form, own = net.one_pass, convs[-1].activation
    p, anchors = pool_cells(h, form.cells[i]), form.anchors[i]
    room = range_exponent(float(torch.maximum(p.max(), anchors.max()))) - own
    gain = min(max(room, 0), most_gain(h[0, 0].shape, form.cells[i]))
    handed = own + gain if net.units[i].block.mean else own
    return LayerScales(tuple(convs), handed, gain, sharpness=float(form.sharpness(i)))


def _normed(h: Tensor, convs: list[Scales], recipe: Recipe) -> LayerScales:
    """The label-plane form's: what goes on is h over its root mean square."""
    size = h.square().flatten(1).mean(1).sqrt()
    normal = (h / size.clamp(min=2.0**-20)[:, None, None, None]).flatten()
    handed = observe(normal, recipe.activations, recipe.percentile, 0, ACTIVATION_MAX)
    typical = float(size.median()) * 2.0 ** convs[-1].activation
    shift = round(math.log2(TYPICAL_MULTIPLIER * max(typical, 1.0))) - handed
    return LayerScales(tuple(convs), handed, norm_shift=min(max(shift, 0), MAX_ACTIVATION_SHIFT))


def _within_shift(scales: Scales, received: int) -> Scales:
    """Keep the activation shift in 0..24: the weights' exponent gives way."""
    shift = scales.weight + received - scales.activation
    allowed = min(max(shift, 0), MAX_ACTIVATION_SHIFT)
    return Scales(scales.weight + allowed - shift, scales.activation)
