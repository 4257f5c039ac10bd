"""From a trained, calibrated net to the integer step's plan and first state."""

import torch
from torch import Tensor

from dfedge.int8.ops import ACTIVATION_MAX
from dfedge.int8.scales import activation_shift, score_shifts
from dfedge.learn.fake import quantise
from dfedge.learn.net import Net
from dfedge.lower.plan import LayerPlan, State, StepPlan
from dfedge.lower.rates import ANCHOR_SHIFT, BIAS_SHIFT, measured_shifts


def lower(net: Net, size: tuple[int, int], x: Tensor, y: Tensor) -> tuple[StepPlan, State]:
    """Fold, quantise and lay out, then choose the update shifts.

    Args:
        net: a net whose `scales` are set.
        size: height and width of the input.
        x: int8 [N, H, W, C], training samples for `dfedge.lower.rates`.
        y: int32 [N], their labels.
    """
    assert net.scales is not None
    height, width = size
    form = net.one_pass
    shifts = score_shifts([a.shape[1] for a in form.anchors], [s.activation for s in net.scales])
    plans: list[LayerPlan] = []
    state: State = {}
    channels = net.image[2]
    for i, (unit, scales) in enumerate(zip(net.units, net.scales, strict=True)):
        with torch.no_grad():
            weight, bias = net.quantised(i)
            anchors = quantise(form.anchors[i] * 2.0**scales.activation, 0, ACTIVATION_MAX)
        block = unit.block
        plans.append(
            LayerPlan(
                height=height,
                width=width,
                in_channels=channels,
                channels=block.channels,
                kernel=block.sides[0],
                pool=block.pool,
                cells=form.cells[i],
                shift=activation_shift(scales, net.input_exponent(i)),
                score_shift=shifts[i],
                counted=i in net.counted,
                margin=net.spec.integer_margin(),
            )
        )
        state[f"layer{i}.weight"] = _taps(weight).to(torch.int8)
        state[f"layer{i}.bias"] = bias.to(torch.int32)
        state[f"layer{i}.anchors"] = anchors.to(torch.int8)
        if block.pool:
            height, width = height // 2, width // 2
        channels = block.channels
    n = len(plans)
    plan = StepPlan(tuple(plans), net.classes)
    state["live"] = torch.ones(net.classes, dtype=torch.int8)
    weight_shifts = measured_shifts(plan, state, x, y)
    state["weight_shift"] = torch.tensor(weight_shifts, dtype=torch.int32)
    state["bias_shift"] = torch.full((n,), BIAS_SHIFT, dtype=torch.int32)
    state["anchor_shift"] = torch.full((n,), ANCHOR_SHIFT, dtype=torch.int32)
    state["phase"] = torch.zeros((), dtype=torch.int32)
    return plan, state


def _taps(weight: Tensor) -> Tensor:
    """[O, C, k, k] -> [k*k, C, O]."""
    return weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[1], weight.shape[0]).contiguous()
