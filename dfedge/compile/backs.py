"""Right shifts of errors that are carried back, so that what meets is on one scale.

The true gradient of a layer's loss at one position of its output is the integer error times
``2^-E``, with ``E = f + 3 + log2(d n D / 2)``: f the pooled features' exponent, 3 for levels in
eighths, d the anchor's length, n the positions of a cell and D the mean squared distance of two
anchors, all from the goodness ``|p - A|^2 / d`` and its separation-normalised margin.  An error
that comes down to the layer below is shifted to that layer's own E; inside a unit only the use of
the int8 range matters.
"""

import math

import torch
from msgspec.structs import replace
from torch import Tensor

from dfedge.compile.state import State, conv_name
from dfedge.int8.bounds import fan_out, positions
from dfedge.int8.ops.values import LEVELS_LOG
from dfedge.int8.scales import LayerScales
from dfedge.plan import Conv, Layer, Plan

MAX_BACK = 24


def mean_separation(anchors: Tensor) -> float:
    """``|A_k - A_j|^2`` on average over all pairs; anchors int8 [K, d] of trained classes."""
    return torch.pdist(anchors.double()).square().mean().item()


def own_exponent(layer: Layer, scales: LayerScales, anchors: Tensor) -> float:
    """E of a layer's own error; anchors int8 [K, d] of trained classes."""
    end = layer.ends
    cell = positions((end.out_height, end.out_width), layer.cells)
    apart = mean_separation(anchors) * 4.0**-scales.pooled / layer.features
    return scales.pooled + LEVELS_LOG + math.log2(layer.features * cell * max(apart, 1e-6) / 2)


def _inside(w: Tensor, conv: Conv) -> int:
    """The shift that keeps an error's size: half of the fan-out acts, with random signs."""
    acting = fan_out(conv) / conv.stride**2 / 2
    size = w.double().square().mean().sqrt().item() * math.sqrt(acting)
    return _clamped(math.log2(max(size, 1.0)))


def _clamped(shift: float) -> int:
    return min(max(round(shift), 0), MAX_BACK)


def with_backs(
    plan: Plan, state: State, scales: tuple[LayerScales, ...], feedback: dict[str, int], rows: int
) -> Plan:
    """The plan with every convolution's ``back`` and every join's ``back_lift``.

    Args:
        feedback: exponent of each ``layerI.convJ.feedback``; weights have their own.
        rows: anchors of trained classes.
    """
    layers: list[Layer] = []
    wanted = 0.0
    for i, layer in enumerate(plan.layers):
        own = 0.0
        if plan.form == "one-pass":
            own = own_exponent(layer, scales[i], state[f"layer{i}.anchors"][:rows])

        def back(j: int, i: int = i) -> tuple[Tensor, int]:
            name = conv_name(i, j)
            exponent = feedback.get(f"{name}.feedback", scales[i].convs[j].weight)
            return state.get(f"{name}.feedback", state[f"{name}.weight"]), exponent

        convs, e = list(layer.convs), own
        for j in range(layer.chain - 1, 0, -1):
            w, exponent = back(j)
            convs[j] = replace(convs[j], back=_inside(w, convs[j]))
            e += exponent - convs[j].back
        arrives = e + back(0)[1]
        join = layer.join
        if join is not None:
            skip = own + (back(layer.chain)[1] if layer.skip else 0)
            common = max(arrives, skip)
            lifts = (_clamped(common - arrives), _clamped(common - skip))
            join, arrives = replace(join, back_lift=lifts), common
        convs[0] = replace(convs[0], back=_clamped(arrives - wanted) if i else 0)
        layers.append(replace(layer, convs=tuple(convs), join=join))
        end = layer.ends
        cell = positions((end.out_height, end.out_width), layer.cells)
        wanted = own - math.log2(cell) if layer.mean else own  # a mean's error is not of a position
    return replace(plan, layers=tuple(layers))
