"""From a trained, calibrated net to the integer step's plan and first state."""

import torch
from msgspec.structs import replace
from torch import Tensor

from dfedge.compile.backs import mean_separation, with_backs
from dfedge.compile.pace import PACE
from dfedge.compile.rates import anchor_shift, measured_shifts
from dfedge.compile.state import State, conv_name
from dfedge.int8.ops import ACTIVATION_MAX, WEIGHT_MAX
from dfedge.int8.scales import LayerScales, energy_shifts, norm_numerator, score_shifts
from dfedge.learn.calibrate import range_exponent
from dfedge.learn.fake import quantise
from dfedge.learn.net import Net
from dfedge.learn.rules import load_rule
from dfedge.learn.skeleton import skeleton
from dfedge.learn.units import Draw
from dfedge.plan import FIXED, Form, Layer, Plan
from dfedge.rules import feedback_of

LEAST_SEPARATION = 100
"""Mean square of the difference of two anchors that an untrained net is to reach: below it there
are too few integers between them to learn by."""


def lower(
    net: Net,
    x: Tensor,
    y: Tensor,
    rule: str = "df",
    spare: int = 0,
    cut: int = 0,
    trained: bool = True,
    batch: int = 16,
) -> tuple[Plan, State]:
    """Fold, quantise and lay out, then choose the update shifts.

    Args:
        net: a net whose `scales` are set.
        x: int8 [2 B, H, W, C], training samples for `dfedge.compile.rates`.
        y: int32 [2 B], their labels.
        rule: that the device learns by.
        spare: rows kept for classes to come.
        cut: the first layer that learns.
        trained: False for random weights, whose anchors have yet to come apart.
        batch: the largest that the program learns at once.
    """
    assert net.scales is not None
    form: Form = "label-plane" if net.plane else "one-pass"
    down, draw = feedback_of(rule), load_rule(rule).draw
    assert down is not None
    plan = skeleton(net.spec, net.image, net.classes + spare, form)
    state: State = {}
    feedback: dict[str, int] = {}
    for i, scales in enumerate(net.scales):
        for j in range(len(scales.convs)):
            state |= _conv_state(net, i, j)
            if down in FIXED:
                name = f"{conv_name(i, j)}.feedback"
                state[name], feedback[name] = _feedback(net, i, j, draw)
        if form == "one-pass":
            with torch.no_grad():
                real = net.one_pass.anchors[i] * 2.0**scales.pooled
                anchors = quantise(real, 0, ACTIVATION_MAX).to(torch.int8)
            state[f"layer{i}.anchors"] = _with_spare(anchors, spare)
    if form == "label-plane":
        state["planes"] = _with_spare(net.label_plane.integer_planes(), spare)
    plan = replace(plan, layers=_shifted(plan, net, net.scales), feedback=down, cut=cut)
    if form == "one-pass":
        plan = _separated(plan, state, net.classes, 0 if trained else LEAST_SEPARATION)
    plan = with_backs(plan, state, net.scales, feedback, net.classes)
    live = torch.ones(plan.classes, dtype=torch.int8)
    live[net.classes :] = 0
    state["live"] = live
    state["weight_shift"] = torch.zeros(plan.convolutions, dtype=torch.int8)
    if form == "one-pass":
        state["anchor_shift"] = torch.full(
            (len(plan.layers),), anchor_shift(batch, net.classes), dtype=torch.int8
        )
    state["phase"] = torch.zeros((), dtype=torch.int32)
    state["error"] = torch.zeros((), dtype=torch.int32)
    state["usual_error"] = torch.zeros((), dtype=torch.int32)
    state["pace"] = torch.tensor(PACE, dtype=torch.int32)
    state["weight_shift"] = torch.tensor(measured_shifts(plan, state, x, y), dtype=torch.int8)
    return plan, state


def _separated(plan: Plan, state: State, rows: int, least: int) -> Plan:
    """Anchors repel until they are as far apart as those of the trained classes are on average.

    Args:
        rows: anchors of trained classes.
        least: mean square of a difference up to which they repel in any case.
    """
    layers = []
    for i, layer in enumerate(plan.layers):
        apart = mean_separation(state[f"layer{i}.anchors"][:rows])
        separation = max(round(apart), least * layer.features)
        layers.append(replace(layer, separation=separation))
    return replace(plan, layers=tuple(layers))


def _with_spare(rows: Tensor, spare: int) -> Tensor:
    return torch.cat([rows, rows.new_zeros((spare, rows.shape[1]))])


def _taps(weight: Tensor, depthwise: bool) -> Tensor:
    """[O, C, kh, kw] -> int8 [kh*kw, C, O]; depthwise [C, 1, kh, kw] -> [kh*kw, C, 1]."""
    taps = weight.permute(2, 3, 0, 1) if depthwise else weight.permute(2, 3, 1, 0)
    return taps.reshape(-1, *taps.shape[2:]).to(torch.int8).contiguous()


@torch.no_grad()
def _conv_state(net: Net, i: int, j: int) -> State:
    weight, bias = net.quantised(i, j)
    if net.plane and i == 0 and net.reads_input(j):
        weight = torch.cat([weight, -weight[:, -1:]], 1)  # of the plane's negative part
    name, depthwise = conv_name(i, j), net.units[i].conv(j).groups > 1
    return {
        f"{name}.weight": _taps(weight, depthwise),
        f"{name}.bias": bias.to(torch.int32),
    }


@torch.no_grad()
def _feedback(net: Net, i: int, j: int, draw: Draw) -> tuple[Tensor, int]:
    """Fixed random weights as trained with, or drawn now; the normalisation's factor folded in."""
    stage = net.units[i].conv(j)
    drawn = draw(f"layers.{i}.stages.{j}", stage.weight.shape)
    random = drawn * stage.fold_factor()[:, None, None, None]
    exponent = range_exponent(float(random.abs().max()), WEIGHT_MAX)
    integers = quantise(random * 2.0**exponent, -WEIGHT_MAX, WEIGHT_MAX)
    return _taps(integers, stage.groups > 1), exponent


def _shifted(plan: Plan, net: Net, scales: tuple[LayerScales, ...]) -> tuple[Layer, ...]:
    """The layers with their forward shifts."""
    sizes = [layer.ends.out_height * layer.ends.out_width * layer.ends.channels
             for layer in plan.layers]  # fmt: skip
    if plan.form == "label-plane":
        score = energy_shifts(sizes, [s.output for s in scales])
    else:
        features = [layer.features for layer in plan.layers]
        score = score_shifts(features, scales, net.counted)
    layers = []
    for i, (layer, own) in enumerate(zip(plan.layers, scales, strict=True)):
        sums = [own.convs[j].weight + net.input_exponent(i, j) for j in range(len(layer.convs))]
        join = layer.join
        ends = [s.activation for s in own.convs]
        if join is not None:
            last = layer.chain - 1
            skip = sums[layer.chain] if layer.skip else net.input_exponent(i)
            common = max(sums[last], skip)
            join = replace(join, lift=(common - sums[last], common - skip))
            sums[last] = common
        layers.append(
            replace(
                layer,
                convs=tuple(
                    replace(conv, shift=0 if j == layer.chain else total - end)
                    for j, (conv, total, end) in enumerate(
                        zip(layer.convs, sums, ends, strict=True)
                    )
                ),
                join=join,
                gain=own.gain,
                score_shift=score[i],
                counted=i in net.counted,
                norm=norm_numerator(sizes[i], own.handed, own.norm_shift) if net.plane else 0,
                norm_shift=own.norm_shift,
            )
        )
    return tuple(layers)
