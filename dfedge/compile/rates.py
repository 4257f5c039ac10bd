"""The first update shifts of a net: how far one batch may move what each layer tells the next.

The shift of an update is its learning rate.  What a rate does is not how far it moves a weight but
how far it moves the function, and that differs by a hundred times between layers: inputs are never
negative, so all positions of a large bright map push a filter the same way and their pushes add
up.  So each weight shift is measured on the function: the smallest one under which a batch of
misjudged samples moves the pooled features of *other* samples by no more than `STEP` of the
distance between two anchors, which is the unit that scores are read in.  The measure knows no
width, depth, image size, kind of data or scale of weights, and a batch is taken as large as the
program's, because what is coherent grows with it (examples/experiments/harm.py).
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from dfedge.compile.state import State, conv_name
from dfedge.compile.step import train
from dfedge.compile.units import Trace, errors, forward, hand_on
from dfedge.int8 import ops
from dfedge.plan import MAX_PACE, MAX_UPDATE_SHIFT, Layer, Plan

STEP = 0.25
"""Root mean square of the move of a layer's features, in units of the root mean square of the
difference of two anchors.  At twice as much nets of every kind lost what they knew on their own
data, at a quarter learning was slower and no safer."""
LEAST_BATCH = 16
"""Samples that are taken to come together even where a program learns one at a time."""
ANCHOR_SHIFT = 7
"""Of coefficients in eighths."""
SLOWEST = MAX_UPDATE_SHIFT - MAX_PACE
"""A measured shift's, so that the pace has room above it."""


def anchor_shift(batch: int, classes: int) -> int:
    """The shift under which a batch moves an anchor at most half of the way to its samples.

    ``batch / classes`` samples of a class move it by 8 / 2^shift of the way each, at their most.
    """
    return max(ANCHOR_SHIFT, math.ceil(math.log2(16 * max(batch, LEAST_BATCH) / classes)))


def measured_shifts(plan: Plan, state: State, x: Tensor, y: Tensor) -> list[int]:
    """Weight shifts under which a batch of misjudged samples moves what a layer tells by `STEP`.

    In the label-plane form, which has no anchors, the move of a layer's maps in units of their own
    root mean square.

    Args:
        x: int8 [2 B, H, W, C], training samples: the first half teaches, the second is watched.
        y: int32 [2 B], their labels; each sample is shown under the next class's name, so that the
            margin is violated.
    """
    half = len(y) // 2
    watched = _inputs(plan, state, x[half:]) if plan.form == "one-pass" else None
    found = [0] * plan.convolutions

    def measure(plan: Plan, state: State, _: State, i: int, trace: Trace, e: Tensor) -> None:
        layer = plan.layers[i]
        at = errors(state, i, layer, trace, e, plan.feedback == "sign-concordant")
        seen = watched[i] if watched else trace.inputs[0]
        before = _told(plan, state, i, seen)
        unit = _unit(layer, before)

        def moved(j: int, shift: int) -> float:
            name, geometry = f"{conv_name(i, j)}.weight", layer.convs[j].geometry
            rate = torch.tensor(shift, dtype=torch.int32)
            w = ops.conv_update(trace.inputs[j], at[j], state[name], rate, state["phase"], geometry)
            return _rms(_told(plan, state | {name: w}, i, seen) - before) / unit

        for j in range(len(layer.convs)):
            found[plan.number(i, j)] = _least(partial(moved, j))

    wrong = (y[:half] + 1) % int(state["live"].sum())
    train(plan, state, x[:half], wrong, measure)
    return found


def _least(moved: Callable[[int], float]) -> int:
    """The smallest shift that moves by no more than `STEP`; larger shifts move less."""
    low, high = 0, SLOWEST
    while low < high:
        middle = (low + high) // 2
        if moved(middle) > STEP:
            low = middle + 1
        else:
            high = middle
    return low


def _inputs(plan: Plan, state: State, x: Tensor) -> list[Tensor]:
    """What each layer receives of x."""
    received = []
    for i, layer in enumerate(plan.layers):
        received.append(x)
        h = forward(state, i, layer, x).h
        x = hand_on(layer, h, ops.pool_cells(h, layer.cells, layer.gain))
    return received


def _told(plan: Plan, state: State, i: int, x: Tensor) -> Tensor:
    """A layer's pooled features, or its map where it has no anchors, in float64."""
    layer = plan.layers[i]
    h = forward(state, i, layer, x).h
    if plan.form == "label-plane":
        return h.double()
    return ops.pool_cells(h, layer.cells, layer.gain).double()


def _unit(layer: Layer, told: Tensor) -> float:
    if layer.separation:
        return math.sqrt(layer.separation / layer.features)
    return max(_rms(told), 1.0)


def _rms(values: Tensor) -> float:
    return values.square().mean().sqrt().item()
