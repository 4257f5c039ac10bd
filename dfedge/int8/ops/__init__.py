"""The integer operations as `torch.library` operations, each with its exact definition.

A definition here favours the clearest exact arithmetic that PyTorch has: float64 holds every sum
that `dfedge.int8.bounds` admits without rounding.  How a runtime computes the same bits is the
matter of `dfedge.int8.stock` (any runtime's own operators).

Layouts: activations int8 [B, H, W, C], values 0..127; errors int8 of the same layout, values
-127..127; weights int8 [kh*kw, C, O], taps row by row, depthwise [kh*kw, C, 1], values -127..127;
bias int32 [O]; anchors int8 [K, d], values 0..127.  ``geometry`` is `dfedge.plan.Conv.geometry`.
"""

from dfedge.int8.ops.convolution import (
    add_errors,
    add_relu,
    conv_back,
    conv_relu,
    conv_sum,
    gate,
    narrow,
    signed_as,
)
from dfedge.int8.ops.energy import (
    coarse,
    contrast_energy,
    draw_rivals,
    energy,
    normalise,
    select_rows,
    times,
)
from dfedge.int8.ops.goodness import anchor_scores, anchor_update, contrast
from dfedge.int8.ops.pooling import max_pool, pool_cells, spread, unpool
from dfedge.int8.ops.update import conv_update, correlation, scaled_round
from dfedge.int8.ops.values import (
    ACTIVATION_MAX,
    BIAS_MAX,
    MARGIN_UNIT,
    WEIGHT_MAX,
)

__all__ = [
    "ACTIVATION_MAX",
    "BIAS_MAX",
    "MARGIN_UNIT",
    "WEIGHT_MAX",
    "add_errors",
    "add_relu",
    "anchor_scores",
    "anchor_update",
    "coarse",
    "contrast",
    "contrast_energy",
    "conv_back",
    "conv_relu",
    "conv_sum",
    "conv_update",
    "correlation",
    "draw_rivals",
    "energy",
    "gate",
    "max_pool",
    "narrow",
    "normalise",
    "pool_cells",
    "scaled_round",
    "select_rows",
    "signed_as",
    "spread",
    "times",
    "unpool",
]
