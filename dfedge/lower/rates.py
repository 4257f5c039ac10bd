"""The first update shifts of a net: how far one sample may move each convolution's integers.

The shift of an update is its learning rate.  Updates differ by powers of ten with sizes and scales,
so each weight shift is chosen from what one misjudged sample does to that convolution.  Anchors
live on one scale everywhere and biases move with every position of the image: constants.  All were
settled on digits turned by 90 degrees (examples/experiments/adaptation.py).
"""

import math

from torch import Tensor

from dfedge.int8 import ops
from dfedge.lower.state import State
from dfedge.lower.step import train
from dfedge.lower.units import Trace, errors
from dfedge.plan import Plan

STEP = 0.16
"""Root mean square of a weight's move in one sample's update, in units of its last place."""
ANCHOR_SHIFT = 7
"""Of coefficients in eighths."""
BIAS_SHIFT = 24
"""Biases are kept, all but exactly: moving them gained nothing (-0.1 to -0.3 points)."""


def measured_shifts(plan: Plan, state: State, x: Tensor, y: Tensor) -> list[int]:
    """Weight shifts under which a misjudged sample moves a weight by `STEP` (root mean square).

    Args:
        x: int8 [N, H, W, C], a few dozen training samples.
        y: int32 [N], their labels; each sample is shown under the next class's name, so that the
            margin is violated.
    """
    count = sum(len(layer.convs) for layer in plan.layers)
    squares: list[list[float]] = [[] for _ in range(count)]

    def measure(plan: Plan, state: State, _: State, i: int, trace: Trace, e: Tensor) -> None:
        layer = plan.layers[i]
        at = errors(state, i, layer, trace, e, plan.rule == "df-r-concordant")
        for j, conv in enumerate(layer.convs):
            v = ops.correlation(trace.inputs[j], at[j], conv.geometry)
            squares[plan.number(i, j)].append(float(v.double().square().mean()))

    wrong = (y + 1) % int(state["live"].sum())
    for sample in range(len(y)):
        one = slice(sample, sample + 1)
        train(plan, state, x[one], wrong[one], measure)
    return [_shift(sum(row) / max(len(row), 1)) for row in squares]


def _shift(mean_square: float) -> int:
    size = math.sqrt(mean_square) / STEP
    return min(max(round(math.log2(max(size, 1.0))), 0), 20)
