"""The local-update step: the one piece of code that every exported program is made from.

    infer(state, x)    -> scores int32 [B, K]
    train(state, x, y) -> state', scores int32 [B, K], active int32 [L]

``x`` int8 [B, H, W, C] in 0..127, ``y`` int32 [B].  `train` is Distance-Forward learning in its
one-pass form (arXiv 2408.14925, section 3 of its goodness as a distance) with strictly local
updates: layer l computes its activations with its old weights, reads its own error off its own
anchors, updates, and hands its activations on.  Nothing of layer l-1 but that hand-over is alive
by then, and no backward pass exists that could ask for it.

The scores that `train` returns are those before the update: test-then-train accuracy for free.
"""

from torch import Tensor, stack
from torch import int32 as i32

from dfedge.int8 import ops
from dfedge.int8.rounding import advance
from dfedge.lower.plan import LayerPlan, State, StepPlan


def activations(state: State, name: str, layer: LayerPlan, x: Tensor) -> tuple[Tensor, Tensor]:
    """One layer's output h [B, H, W, O] and what its anchors see, p [B, d]."""
    h = ops.conv_relu(x, state[f"{name}.weight"], state[f"{name}.bias"], layer.shift)
    return h, ops.pool_cells(h, layer.cells)


def _masked(scores: Tensor, live: Tensor) -> Tensor:
    """Scores with every class that is not live set to `ops.DEAD_SCORE`."""
    alive = live.to(i32)
    return scores * alive + ops.DEAD_SCORE * (1 - alive)


def _add(total: Tensor | None, scores: Tensor) -> Tensor:
    return scores if total is None else total + scores


def infer(plan: StepPlan, state: State, x: Tensor) -> Tensor:
    """Score every class: the sum of the counted layers' nearness to its anchors, int32 [B, K]."""
    total: Tensor | None = None
    for i, layer in enumerate(plan.layers):
        h, p = activations(state, f"layer{i}", layer, x)
        if layer.counted:
            scores = ops.anchor_scores(p, state[f"layer{i}.anchors"])
            total = _add(total, scores * (1 << layer.score_shift))
        x = ops.max_pool(h) if layer.pool else h
    assert total is not None
    return _masked(total, state["live"])


def train(plan: StepPlan, state: State, x: Tensor, y: Tensor) -> tuple[State, Tensor, Tensor]:
    """Learn from one batch: the new state, the scores before learning, active samples a layer."""
    new = dict(state)
    phase, total, active = state["phase"], None, []
    for i, layer in enumerate(plan.layers):
        name = f"layer{i}"
        h, p = activations(state, name, layer, x)
        w, b, anchors = (state[f"{name}.{part}"] for part in ("weight", "bias", "anchors"))
        scores = ops.anchor_scores(p, anchors)
        coefficient, error = ops.contrast(scores, anchors, y, state["live"], layer.margin)
        shifts = [state[f"{part}_shift"][i] for part in ("weight", "bias", "anchor")]
        new[f"{name}.weight"] = ops.conv_update(x, h, error, w, shifts[0], phase, layer.cells)
        new[f"{name}.bias"] = ops.bias_update(h, error, b, shifts[1], phase, layer.cells)
        new[f"{name}.anchors"] = ops.anchor_update(p, coefficient, anchors, shifts[2], phase)
        if layer.counted:
            total = _add(total, scores * (1 << layer.score_shift))
        active.append((coefficient > 0).to(i32).sum(dtype=i32))
        x = ops.max_pool(h) if layer.pool else h
    assert total is not None
    new["phase"] = advance(phase)
    return new, _masked(total, state["live"]), stack(active)
