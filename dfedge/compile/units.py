"""One local learning unit: forward, its error handed to its convolutions, its error carried on."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, int32

from dfedge.compile.state import State, conv_name
from dfedge.int8 import ops
from dfedge.plan import Layer, Plan


@dataclass(frozen=True)
class Trace:
    """What a unit's learning needs: the input of each convolution, and the output h."""

    inputs: tuple[Tensor, ...]
    h: Tensor


def forward(state: State, number: int, layer: Layer, x: Tensor) -> Trace:
    """int8 [B, H, W, C] -> h int8 [B, H', W', O], before the pool."""

    def parts(j: int) -> tuple[Tensor, Tensor]:
        name = conv_name(number, j)
        return state[f"{name}.weight"], state[f"{name}.bias"]

    last, inputs = layer.chain - 1, [x]
    for j, conv in enumerate(layer.convs[:last]):
        inputs.append(ops.conv_relu(inputs[j], *parts(j), conv.shift, conv.geometry))
    end = layer.ends
    if layer.join is None:
        h = ops.conv_relu(inputs[last], *parts(last), end.shift, end.geometry)
        return Trace(tuple(inputs), h)
    acc, skip = ops.conv_sum(inputs[last], *parts(last), end.geometry), x
    if layer.skip is not None:
        skip = ops.conv_sum(x, *parts(layer.chain), layer.skip.geometry)
        inputs.append(x)
    h = ops.add_relu(acc, skip, *layer.join.lift, end.shift)
    return Trace(tuple(inputs), h)


def hand_on(layer: Layer, h: Tensor, p: Tensor | None = None) -> Tensor:
    """What the next layer receives; p is what the anchors saw."""
    if layer.mean:
        assert p is not None
        return p.reshape(len(p), 1, 1, -1)
    return ops.max_pool(h) if layer.pool else h


def _back_weight(state: State, number: int, j: int, concordant: bool) -> Tensor:
    name = conv_name(number, j)
    w = state[f"{name}.weight"]
    if f"{name}.feedback" not in state:
        return w
    random = state[f"{name}.feedback"]
    return ops.signed_as(random, w) if concordant else random


def _carry(state: State, number: int, layer: Layer, j: int, e: Tensor, concordant: bool) -> Tensor:
    conv = layer.convs[j]
    w = _back_weight(state, number, j, concordant)
    return ops.conv_back(e, w, conv.geometry, conv.height, conv.width)


def errors(
    state: State, number: int, layer: Layer, trace: Trace, e: Tensor, concordant: bool
) -> list[Tensor]:
    """From the error at the unit's output (zero where h = 0) to that at each convolution's output.

    Weights, or what stands for them, are those before the update.
    """
    found = [e] * len(layer.convs)
    for j in range(layer.chain - 1, 0, -1):
        carried = _carry(state, number, layer, j, found[j], concordant)
        found[j - 1] = ops.gate(ops.narrow(carried, layer.convs[j].back), trace.inputs[j])
    return found


def carry(state: State, number: int, layer: Layer, at: list[Tensor], concordant: bool) -> Tensor:
    """From `errors` to the error at the unit's input: int8 [B, H, W, C]."""
    total = _carry(state, number, layer, 0, at[0], concordant)
    if layer.join is not None:
        skip = at[-1]
        if layer.skip is not None:
            skip = _carry(state, number, layer, layer.chain, skip, concordant)
        lift, skip_lift = layer.join.back_lift
        total = total * (1 << lift) + skip.to(int32) * (1 << skip_lift)
    return ops.narrow(total, layer.convs[0].back)


def update(plan: Plan, state: State, new: State, i: int, trace: Trace, e: Tensor) -> None:
    """Update the weights of a layer from the error at its output."""
    layer, phase = plan.layers[i], state["phase"]
    at = errors(state, i, layer, trace, e, plan.feedback == "sign-concordant")
    for j, conv in enumerate(layer.convs):
        name = f"{conv_name(i, j)}.weight"
        shift = state["weight_shift"][plan.number(i, j)]
        seen, error, w = trace.inputs[j], at[j], state[name]
        new[name] = ops.conv_update(seen, error, w, shift, phase, conv.geometry)


Move = Callable[[Plan, State, State, int, Trace, Tensor], None]
"""`update`, or what stands in for it: (plan, state, new state, layer, its trace, its error)."""
