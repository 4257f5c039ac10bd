"""The first update shifts of a net: how far one sample may move each convolution's integers.

The shift of an update is its learning rate.  Updates differ by powers of ten with sizes and scales,
so each weight shift is chosen from what one misjudged sample does to that convolution.  Anchors
live on one scale everywhere and biases move with every position of the image: constants.  All were
settled on digits turned by 90 degrees (examples/experiments/adaptation.py).
"""

import math

from torch import Tensor, int32, tensor

from dfedge.int8 import ops
from dfedge.lower.state import State
from dfedge.lower.step import train
from dfedge.lower.units import Trace, errors
from dfedge.plan import MAX_UPDATE_SHIFT, Plan

STEP = 0.16
"""Root mean square of a weight's move in one sample's update, in units of its last place."""
ANCHOR_SHIFT = 7
"""Of coefficients in eighths."""
LARGEST = 20
"""A measured shift's, so that the pace has room above it."""
HALVED = 4
"""Layers, counted down from the last one, after which an adopted net's rate is half of what it was:
what stands above was trained on what they give.  On held-out training images MobileNetV2 with all
of it learning won 16 points from a blur instead of 10."""
BIAS_SHIFT = 24
"""Biases are kept, all but exactly: moving them gained nothing (-0.1 to -0.3 points)."""


def measured_shifts(plan: Plan, state: State, x: Tensor, y: Tensor) -> list[int]:
    """Weight shifts under which a misjudged sample moves a weight by `STEP` (root mean square).

    They may be larger than a state can hold.

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
    return max(round(math.log2(max(size, 1.0))), 0)


def chosen(plan: Plan, shifts: list[int], slower: int) -> Tensor:
    """The state's ``weight_shift``, int32 [convolutions]; see `dfedge.lower.fold.lower`."""
    found = tensor(shifts, dtype=int32).clamp(max=LARGEST) + slower
    if slower:
        last = len(plan.layers) - 1
        found += tensor([(last - i) // HALVED for i, layer in enumerate(plan.layers)
                         for _ in layer.convs], dtype=int32)  # fmt: skip
    return found.clamp(max=MAX_UPDATE_SHIFT)


def calm(plan: Plan, shifts: list[int]) -> int:
    """The first layer above those of the lower half that a rate cannot be small enough for.

    A measured shift beyond `LARGEST` is one that a state does not hold: such a layer moves faster
    than is wanted, and an adopted net, whose upper layers were trained on what the lower ones give,
    loses by it what it gains above.
    """
    half = len(plan.layers) // 2
    loud = [i for i, layer in enumerate(plan.layers[:half])
            for j in range(len(layer.convs)) if shifts[plan.number(i, j)] > LARGEST]  # fmt: skip
    return max(loud, default=-1) + 1
