"""The first update shifts of a net: how far one sample may move each layer's integers.

The shift of an update is its learning rate.  Layers' updates differ by powers of ten with their
sizes and scales, so each weight shift is chosen from what one misjudged sample does to that layer.
Anchors live on one scale everywhere and biases move with every position of the image: constants.
All were settled on digits turned by 90 degrees (examples/experiments/adaptation.py).
"""

import math

from torch import Tensor

from dfedge.int8 import ops
from dfedge.lower.plan import State, StepPlan
from dfedge.lower.step import activations

STEP = 0.08
"""Root mean square of a weight's move in one sample's update, in units of its last place."""
ANCHOR_SHIFT = 4
BIAS_SHIFT = 24
"""Biases are kept, all but exactly: moving them gained nothing (-0.1 to -0.3 points)."""


def measured_shifts(plan: StepPlan, state: State, x: Tensor, y: Tensor) -> list[int]:
    """Weight shifts under which a misjudged sample moves a weight by `STEP` (root mean square).

    Args:
        x: int8 [N, H, W, C], a few dozen training samples.
        y: int32 [N], their labels; each sample is shown under the next class's name, so that the
            margin is violated.
    """
    squares: list[list[float]] = [[] for _ in plan.layers]
    wrong = (y + 1) % plan.classes
    for sample in range(len(y)):
        h_in, label = x[sample : sample + 1], wrong[sample : sample + 1]
        for i, layer in enumerate(plan.layers):
            name = f"layer{i}"
            h, p = activations(state, name, layer, h_in)
            anchors, weight = state[f"{name}.anchors"], state[f"{name}.weight"]
            scores = ops.anchor_scores(p, anchors)
            _, error = ops.contrast(scores, anchors, label, state["live"], layer.margin)
            v = ops.correlation(h_in, h, error, weight, layer.cells)
            squares[i].append(float(v.double().square().mean()))
            h_in = ops.max_pool(h) if layer.pool else h
    return [_shift(sum(row) / len(row)) for row in squares]


def _shift(mean_square: float) -> int:
    size = math.sqrt(mean_square) / STEP
    return min(max(round(math.log2(max(size, 1.0))), 0), 20)
