"""What sizes the integer semantics can hold: every bound of its int32 and exact-float arithmetic.

Checked before training and again at export, so that no program overflows in silence.
"""

from collections.abc import Iterator, Sequence

from dfedge.errors import DfedgeError
from dfedge.int8.ops.values import (
    ACTIVATION_MAX,
    BIAS_MAX,
    ENERGY_SHIFT,
    MARGIN_UNIT,
    WEIGHT_MAX,
)
from dfedge.limits import MOST_TAPS
from dfedge.maps import cell_size
from dfedge.plan import MAX_DITHERED_SHIFT, Conv, Layer, Plan
from dfedge.state import DEAD_SCORE

INT32 = 1 << 31
PEAK = ACTIVATION_MAX * WEIGHT_MAX
"""16,129: the largest product of two operands."""
EXACT_DEPTH = (1 << 24) // PEAK
"""1,040: the inner length up to which a float32 sum of products of two int8 values is exact."""

MAX_CELL = 4096
"""Positions of one pooling cell, 2^gain times, whose mean a float32 reciprocal rounds exactly."""
MAX_GAIN = 7
"""Beyond it the smallest activation alone would fill the range."""
MAX_AXIS = 40_000
"""Length of a weight's axis over which the dither's int32 ramp does not wrap."""

Check = tuple[str, int, int]
"""What is bounded, its size, the limit."""


def fan_in(conv: Conv) -> int:
    """Products summed for one output."""
    return conv.taps * (1 if conv.depthwise else conv.in_channels)


def fan_out(conv: Conv) -> int:
    """Products summed for one carried error."""
    return conv.taps * (1 if conv.depthwise else conv.channels)


def _conv(conv: Conv, batch: int) -> Iterator[Check]:
    # accumulator + bias + half a step of a shift of 24
    yield "fan-in k*k*C", fan_in(conv), (INT32 - BIAS_MAX - (1 << 23)) // PEAK
    yield "fan-out k*k*O", fan_out(conv), (INT32 - (1 << 23)) // PEAK
    # correlation + dither, whose threshold is below 2^MAX_DITHERED_SHIFT
    positions = batch * conv.out_height * conv.out_width
    limit = (INT32 - (1 << MAX_DITHERED_SHIFT)) // PEAK
    yield f"positions summed at batch {batch}", positions, limit
    yield "longest axis of a tensor", max(conv.channels, conv.in_channels), MAX_AXIS
    yield "taps of a kernel", conv.taps, MOST_TAPS


def _join(layer: Layer) -> Iterator[Check]:
    if layer.join is None:
        return
    inner, skip = layer.ends, layer.skip
    passed = fan_in(skip) * PEAK + BIAS_MAX if skip else ACTIVATION_MAX
    total = ((fan_in(inner) * PEAK + BIAS_MAX) << layer.join.lift[0]) + (
        passed << layer.join.lift[1]
    )
    yield "the sum of both branches", total, INT32 - (1 << 23)
    first = layer.convs[0]
    carried = ((fan_out(first) * PEAK) << layer.join.back_lift[0]) + (
        (skip.channels * PEAK if skip else ACTIVATION_MAX) << layer.join.back_lift[1]
    )
    yield "the sum of both branches' errors", carried, INT32 - (1 << 23)


def positions(map_size: Sequence[int], cells: int) -> int:
    """Of one pooling cell, n, in a map [H, W]."""
    height, width = cell_size(map_size, cells)
    return height * width


def most_gain(map_size: Sequence[int], cells: int) -> int:
    """The largest gain of a layer's pooled features, at most `MAX_GAIN`."""
    n = positions(map_size, cells)
    return max((gain for gain in range(MAX_GAIN + 1) if n << gain <= MAX_CELL), default=0)


def most_features(margin: int) -> int:
    """The longest anchor, d; ``margin`` in `MARGIN_UNIT`.

    A contrast holds 16 score gaps (at most 2 * 127^2 d) and the margin's part of two anchors'
    separation (at most 127^2 d).
    """
    return INT32 // (PEAK * (2 * MARGIN_UNIT + margin))


def _goodness(layer: Layer, plan: Plan) -> Iterator[Check]:
    end = layer.ends
    if plan.form == "label-plane":
        values = end.out_height * end.out_width * end.channels
        yield "values of a map", values, INT32 // PEAK
        return
    cell = positions((end.out_height, end.out_width), layer.cells)
    yield "features d of an anchor", layer.features, most_features(layer.margin)
    yield "scores' magnitude", (PEAK * layer.features) << layer.score_shift, -DEAD_SCORE - 1
    yield "positions of a pooling cell", cell << layer.gain, MAX_CELL
    yield "longest axis of an anchor", max(layer.features, plan.classes), MAX_AXIS


def largest_score(layer: Layer, plan: Plan) -> int:
    """Of one layer in the sum over layers."""
    if plan.form == "label-plane":
        end = layer.ends
        return (end.out_height * end.out_width * end.channels * PEAK) >> (
            layer.score_shift + ENERGY_SHIFT
        )
    return (PEAK * layer.features) << layer.score_shift


def check_sizes(plan: Plan, batch: int) -> None:
    """Refuse sizes that the integer step cannot hold.

    Raises:
        DfedgeError: naming every broken bound and its layer.
    """
    broken = broken_bounds(plan, batch)
    if broken:
        raise DfedgeError(
            "; ".join(dict.fromkeys(broken))
            + ". Reduce anchor cells, channels, image size or batch size."
        )


def broken_bounds(plan: Plan, batch: int) -> list[str]:
    """Every bound of the integer step that a plan breaks at a batch size, with its layer."""
    copies = 2 if plan.form == "label-plane" else 1  # the right label's and the hardest's move
    broken = []
    for i, layer in enumerate(plan.layers):
        checks = [check for conv in layer.convs for check in _conv(conv, batch * copies)]
        checks += [*_join(layer), *_goodness(layer, plan)]
        broken += [
            f"layer{i}: {what} is {got:,}, the integer step holds {limit:,}"
            for what, got, limit in checks
            if got > limit
        ]
    total = sum(largest_score(layer, plan) for layer in plan.layers)
    if total >= -DEAD_SCORE:
        broken.append(
            f"the scores' sum may reach {total:,}, the integer step holds {-DEAD_SCORE:,}"
        )
    return broken
