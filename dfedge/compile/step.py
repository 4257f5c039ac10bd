"""The local-update step: the one piece of code that every exported program is made from.

    infer(plan, state, x)            -> scores int32 [B, K]
    features(plan, state, x)         -> what each layer's anchors see, and the latent at the cut
    train(plan, state, x, y)         -> state', scores int32 [B, K], active int32 [L]
    train_from(plan, state, z, y)    -> the same from the latent z on

``x`` int8 [B, H, W, C] in 0..127, ``y`` int32 [B].  `train` is Distance-Forward learning (arXiv
2408.14925) in its one-pass form: layer l computes its activations with its old weights, reads its
own error off its own anchors, updates, and hands its activations on.  Under rule ``df`` nothing of
layer l-1 but that hand-over is alive by then; under ``df-o`` and ``df-r`` layer l's own error also
goes down into layer l-1, which therefore waits for it, and no further.

The scores that `train` returns are those before the update: test-then-train accuracy for free.
`dfedge.compile.plane` is the same for the label-plane form.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, stack
from torch import int32 as i32

from dfedge.compile import plane
from dfedge.compile.pace import error_after, paced
from dfedge.compile.state import State, masked
from dfedge.compile.units import Move, Trace, carry, errors, forward, hand_on, update
from dfedge.int8 import ops
from dfedge.int8.rounding import advance
from dfedge.plan import Layer, Plan

Settle = Callable[[int, Trace, Tensor], None]
"""Called with a layer, what it saw, and the whole error at its output, as soon as that is whole."""

Learned = tuple[State, Tensor, Tensor]
"""The new state, the scores before learning [B, K], the active samples of each layer [L]."""


def _judged(layer: Layer, scores: Tensor, total: Tensor | None) -> Tensor | None:
    if not layer.counted:
        return total
    scores = scores * (1 << layer.score_shift)
    return scores if total is None else total + scores


def _see(state: State, i: int, layer: Layer, x: Tensor) -> tuple[Trace, Tensor, Tensor]:
    trace = forward(state, i, layer, x)
    p = ops.pool_cells(trace.h, layer.cells, layer.gain)
    return trace, p, ops.anchor_scores(p, state[f"layer{i}.anchors"])


def infer(plan: Plan, state: State, x: Tensor) -> Tensor:
    """Score every class: the sum of the counted layers' nearness to its anchors, int32 [B, K]."""
    if plan.form == "label-plane":
        return masked(plane.infer(plan, state, x), state["live"])
    total: Tensor | None = None
    for i, layer in enumerate(plan.layers):
        trace, p, scores = _see(state, i, layer, x)
        total = _judged(layer, scores, total)
        x = hand_on(layer, trace.h, p)
    assert total is not None
    return masked(total, state["live"])


def features(plan: Plan, state: State, x: Tensor) -> tuple[Tensor, ...]:
    """What each layer's anchors see, int8 [B, d] a layer, then the latent that `train_from` takes.

    Where nothing is frozen the latent is x itself.
    """
    seen, latent = [], x
    for i, layer in enumerate(plan.layers):
        trace = forward(state, i, layer, x)
        seen.append(ops.pool_cells(trace.h, layer.cells, layer.gain))
        x = hand_on(layer, trace.h, seen[-1])
        if i + 1 == plan.cut:
            latent = x
    return (*seen, latent + 0)


def train(plan: Plan, state: State, x: Tensor, y: Tensor, move: Move = update) -> Learned:
    """Learn from one batch of images; ``move`` is what becomes of a layer's error."""
    if plan.form == "label-plane":
        return plane.train(plan, state, x, y, move)
    total: Tensor | None = None
    for i, layer in enumerate(plan.layers[: plan.cut]):
        trace, p, scores = _see(state, i, layer, x)
        total = _judged(layer, scores, total)
        x = hand_on(layer, trace.h, p)
    return _learn(plan, state, x, y, total, move)


def train_from(plan: Plan, state: State, z: Tensor, y: Tensor) -> Learned:
    """Learn from one batch of latents; the scores are those of the layers from the cut on."""
    return _learn(plan, state, z, y, None, update)


def _learn(
    plan: Plan, state: State, x: Tensor, y: Tensor, total: Tensor | None, move: Move
) -> Learned:
    new, phase = dict(state), state["phase"]
    state = paced(state)

    def settle(i: int, trace: Trace, e: Tensor) -> None:
        move(plan, state, new, i, trace, e)

    active = [torch.zeros((), dtype=i32)] * plan.cut
    for i, layer, p, scores, coefficient in sweep(plan, state, x, y, settle):
        name = f"layer{i}.anchors"
        shift = state["anchor_shift"][i]
        new[name] = ops.anchor_update(p, coefficient, state[name], shift, phase)
        active.append((coefficient > 0).to(i32).sum(dtype=i32))
        total = _judged(layer, scores, total)
    if total is None:  # train_from where no layer above the cut is counted
        total = torch.zeros((len(y), plan.classes), dtype=i32)
    total = masked(total, state["live"])
    new["phase"], new["error"] = advance(phase), error_after(state, total, y)
    return new, total, stack(active)


Seen = tuple[int, Layer, Tensor, Tensor, Tensor]
"""Layer's number, layer, p, scores, coefficients of `ops.contrast`."""


def sweep(plan: Plan, state: State, x: Tensor, y: Tensor, settle: Settle) -> Iterator[Seen]:
    """One batch up through the layers from the cut on, each layer's error to ``settle``."""
    below: tuple[int, Trace, Tensor] | None = None
    concordant = plan.feedback == "sign-concordant"
    for i in range(plan.cut, len(plan.layers)):
        layer = plan.layers[i]
        trace, p, scores = _see(state, i, layer, x)
        coefficient, error = ops.contrast(
            scores, p, state[f"layer{i}.anchors"], y, state["live"],
            layer.margin, layer.pull, layer.separation,
        )  # fmt: skip
        own = ops.spread(error, trace.h, layer.cells)
        yield i, layer, p, scores, coefficient
        if below is not None:
            at = errors(state, i, layer, trace, own, concordant)
            down = carry(state, i, layer, at, concordant)
            settle(below[0], below[1], _with(plan.layers[i - 1], below[1].h, below[2], down))
        x = hand_on(layer, trace.h, p)
        if plan.feedback == "none":
            settle(i, trace, own)
        else:
            below = (i, trace, own)
    if below is not None:
        settle(*below)


def _with(layer: Layer, h: Tensor, own: Tensor, down: Tensor) -> Tensor:
    """A layer's own error and the one that came down to what it handed on.

    Through a mean an error comes down as the layer's own does: the same at every position of the
    map, its size in the exponent (`dfedge.compile.backs`).
    """
    if layer.mean:
        down = ops.spread(down.flatten(1), h, layer.cells)
    elif layer.pool:
        down = ops.unpool(down, h)
    return ops.add_errors(own, ops.gate(down, h))
