"""The step in the label-plane form: the paper's own procedure, rule ``df``, in integers.

Every sample is shown with its right label and N drawn wrong ones, as copies of the image joined
with a label's plane.  A layer's goodness is the energy of its output; where the hardest wrong
copy's energy comes too near the right one's, the right copy's is raised and the hardest wrong one's
lowered: the error is the activation itself with a sign.  What goes on is normalised.  Inference
tries all labels.  Planes are kept as they were trained.
"""

from torch import Tensor, cat, stack
from torch import int32 as i32

from dfedge.compile.pace import error_after, paced
from dfedge.compile.state import State, masked
from dfedge.compile.units import Move, forward, hand_on
from dfedge.int8 import ops
from dfedge.int8.ops.energy import norm_limits
from dfedge.int8.ops.values import ENERGY_SHIFT
from dfedge.int8.rounding import advance
from dfedge.plan import Layer, Plan
from dfedge.state import DEAD_SCORE


def _join(x: Tensor, planes: Tensor, copies: int) -> Tensor:
    """Images int8 [B, H, W, C] and planes [copies B, H*W*2] -> int8 [copies B, H, W, C + 2]."""
    _, height, width, _ = x.shape
    return cat([cat([x] * copies), planes.reshape(-1, height, width, 2)], 3)


def _onward(layer: Layer, h: Tensor, g: Tensor) -> Tensor:
    return hand_on(layer, ops.normalise(h, g, norm_limits(layer.norm), layer.norm_shift))


def _judged(layer: Layer, g: Tensor, total: Tensor | None) -> Tensor | None:
    if not layer.counted:
        return total
    part = ops.coarse(g, ENERGY_SHIFT + layer.score_shift)
    return part if total is None else total + part


def infer(plan: Plan, state: State, x: Tensor) -> Tensor:
    """The counted layers' energies under each label: int32 [B, K], classes not yet masked."""
    batch, classes = x.shape[0], plan.classes
    planes = state["planes"]
    every = planes.reshape(classes, 1, -1).expand(classes, batch, planes.shape[1])
    a = _join(x, every, classes)
    total: Tensor | None = None
    for i, layer in enumerate(plan.layers):
        h = forward(state, i, layer, a).h
        g = ops.energy(h)
        total = _judged(layer, g, total)
        a = _onward(layer, h, g)
    assert total is not None
    return total.reshape(classes, batch).transpose(0, 1) + 0


def train(
    plan: Plan, state: State, x: Tensor, y: Tensor, move: Move
) -> tuple[State, Tensor, Tensor]:
    """Learn from one batch; see `dfedge.compile.step`.

    The scores [B, K] are those of the labels that were shown; all others are `DEAD_SCORE`.
    """
    new, phase = dict(state), state["phase"]
    state = paced(state)
    shown = ops.draw_rivals(y, state["live"], plan.negatives, phase)
    copies = 1 + plan.negatives
    a = _join(x, ops.select_rows(shown, state["planes"]), copies)
    total: Tensor | None = None
    active = []
    for i, layer in enumerate(plan.layers):
        trace = forward(state, i, layer, a)
        g = ops.energy(trace.h)
        way = ops.contrast_energy(g, shown, plan.negatives, layer.margin)
        move(plan, state, new, i, trace, ops.times(trace.h, way))
        active.append((way < 0).to(i32).sum(dtype=i32))
        total = _judged(layer, g, total)
        a = _onward(layer, trace.h, g)
    assert total is not None
    scores = masked(_by_label(total, shown, copies), state["live"])
    new["phase"], new["error"] = advance(phase), error_after(state, scores, y)
    return new, scores, stack(active)


def _by_label(total: Tensor, shown: Tensor, copies: int) -> Tensor:
    """Energies of copies [copies B] to where their labels are: int32 [B, K]."""
    seen = shown.to(i32)
    each = total.reshape(-1, 1) * seen + DEAD_SCORE * (1 - seen)
    return each.reshape(copies, -1, shown.shape[1]).amax(0)
