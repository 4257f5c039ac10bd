"""What back-propagation of the same part of a net would need, planned as ExecuTorch plans it.

The rival is `dfedge.bench.rival`'s: float32, folded normalisation, a linear head, SGD; its state is
what learns, and frozen weights are constants, as dfedge's are.  Two honest
plans of it are computed (`dfedge.profile.arena`) and the smaller one counts: the joint
forward-backward graph of ExecuTorch's training extension, and one method whose weights are state
and are updated in place as soon as their gradient is there.  With checkpointing only every k-th
activation is kept (k the root of the number of layers) and each stretch is computed again on the
way back.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from dfedge.bench.frozen import frozen
from dfedge.bench.rival import LEARNING_RATE, FloatLoss, FloatNet, example, gives_scores
from dfedge.exporters.executorch_plan import planned_footprint
from dfedge.exporters.planned import native_arena
from dfedge.exporters.program import Method
from dfedge.exporters.traced import Traced, core
from dfedge.plan import Plan
from dfedge.profile.arena import computed_plan, next_of
from dfedge.profile.rival import BackpropPlan
from dfedge.quiet import quiet

FROZEN = "frozen."
"""How the names begin of what does not learn."""
Weights = dict[str, Tensor]


class Stretches:
    """One step of SGD as a function of the weights, layers cut into stretches computed twice."""

    def __init__(self, plan: Plan, stretches: int) -> None:
        self.net = FloatNet(plan)
        count = len(self.net.layers)
        step = max(-(-count // stretches), 1)
        self.cuts = [(i, min(i + step, count)) for i in range(0, max(count, 1), step)]

    def step(self, weights: Weights, x: Tensor, y: Tensor) -> tuple[Weights, Tensor]:
        """New weights and the loss, from float32 [B, C, H, W] and int64 [B]."""
        inputs = [x]
        for cut in self.cuts[:-1]:
            inputs.append(self._run(self._of(weights, cut), inputs[-1], cut))
        new: Weights = {}
        cut = self.cuts[-1]
        logits, back = self._with_back(weights, inputs[-1], cut)
        right = (torch.arange(logits.shape[1]) == y[:, None]).to(torch.float32)
        chance = torch.softmax(logits, 1)
        loss = -((chance * right).sum(1)).log().mean()
        gradient = (chance - right) / len(y)
        while True:
            changes, gradient = back(gradient)
            new |= {
                name: weights[name] - LEARNING_RATE * change for name, change in changes.items()
            }
            inputs.pop()
            if not inputs:
                return new, loss
            cut = self.cuts[len(inputs) - 1]
            _, back = self._with_back(weights, inputs[-1], cut)

    def _with_back(self, weights: Weights, x: Tensor, cut: tuple[int, int]) -> tuple[Tensor, Any]:
        found: Any = torch.func.vjp(partial(self._run, cut=cut), self._of(weights, cut), x)
        return found[0], found[1]

    def _of(self, weights: Weights, cut: tuple[int, int]) -> Weights:
        wanted = tuple(f"layers.{i}." for i in range(*cut))
        if cut[1] == len(self.net.layers):
            wanted = (*wanted, "head.")
        return {name: value for name, value in weights.items() if name.startswith(wanted)}

    def _run(self, weights: Weights, x: Tensor, cut: tuple[int, int]) -> Tensor:
        result: Tensor = torch.func.functional_call(self.net, weights, (x, *cut))
        return result


def in_place(plan: Plan, batch: int, stretches: int) -> Traced:
    """``(*weights, *frozen, x, y) -> (*new weights, loss)``: one step of SGD."""
    below, stretched = frozen(plan), Stretches(plan, stretches)
    weights, held = dict(stretched.net.named_parameters()), dict(below.named_buffers())

    def step(*given: Tensor) -> tuple[Tensor, ...]:
        *values, x, y = given
        known = dict(zip((*weights, *held), values, strict=True))
        own = {name: known[name] for name in weights}
        kept = {name: known[name] for name in held}
        new, loss = stretched.step(own, torch.func.functional_call(below, kept, (x,)), y)
        return (*(new[name] for name in weights), loss)

    names = [*weights, *(f"{FROZEN}{name}" for name in held)]
    values = [*weights.values(), *held.values()]
    return followed(step, names, values, example(plan, batch), [*map(next_of, weights), "loss"])


def joint(plan: Plan, batch: int) -> Traced:
    """``(*weights, *frozen, x, y) -> (loss, classes, *gradients, *weights)``.

    As the graph of ExecuTorch's training extension, whose caller moves the weights.
    """
    whole = FloatLoss(plan)
    weights, held = dict(whole.named_parameters()), dict(whole.named_buffers())

    def step(*given: Tensor) -> tuple[Tensor, ...]:
        *values, x, y = given
        known = dict(zip((*weights, *held), values, strict=True))
        own = [known[name].requires_grad_(True) for name in weights]
        loss, found = torch.func.functional_call(whole, known, (x, y))
        return (loss, found, *torch.autograd.grad(loss, own), *own)

    outputs = ["loss", "classes", *(f"{name}.gradient" for name in weights), *weights]
    values = [*weights.values(), *held.values()]
    return followed(step, [*weights, *held], values, example(plan, batch), outputs)


def followed(
    step: Callable[..., Any], names: list[str], values: list[Tensor],
    given: tuple[Tensor, Tensor], outputs: list[str],
) -> Traced:  # fmt: skip
    """A trace in torch's core operators; no weight is in it.

    By torch's own tracer: ExecuTorch plans a rival with the aliases that `dfedge.exporters.written`
    leaves out.
    """
    with quiet():
        follow = make_fx(step, core(), tracing_mode="fake")
        module = follow(*(value.detach() for value in values), *given)
    module.graph.eliminate_dead_code()
    return Traced(module, [*names, "x", "y"], outputs)


def back_propagation(plan: Plan, batch: int) -> BackpropPlan:
    """The smaller of the two plans."""
    plans = [_joint(plan, batch), _in_place(plan, batch, 1)]
    return min(plans, key=lambda rival: rival.arena_bytes + rival.state_bytes)


def checkpointed(plan: Plan, batch: int) -> BackpropPlan:
    """Weights updated in place, a root of the layers that learn in a stretch."""
    return _in_place(plan, batch, round(math.sqrt(len(plan.layers) - plan.cut)))


def accumulated(single: BackpropPlan) -> BackpropPlan:
    """A batch one by one: the plan at batch 1, and a float32 gradient beside every weight."""
    return BackpropPlan(single.arena_bytes, 2 * single.state_bytes, f"{single.source}, batch 1")


def int8_ideal(plan: Plan, batch: int) -> BackpropPlan:
    """The least that back-propagation could do in int8: computed, no program does it.

    The output of every layer that learns and what the lowest receives are stored as int8 until they
    are used, one int8 error is on its way, and weights are int8 like dfedge's.  What is frozen runs
    before, an image at a time, in the bytes that dfedge's own interpreter takes for it.
    """
    convs = [conv for layer in plan.layers[plan.cut :] for conv in layer.convs]
    outputs = [math.prod(conv.output) for conv in convs]
    given = math.prod(plan.latent_shape if plan.frozen else plan.input_shape)
    arena = batch * (given + sum(outputs) + max(outputs))
    if plan.frozen:
        arena = max(arena, (batch - 1) * given + native_arena(plan, Method("infer", 1)))
    weights = sum(
        conv.taps * conv.in_channels * (1 if conv.depthwise else conv.channels) + 4 * conv.channels
        for conv in convs
    )
    head = 0 if gives_scores(plan) else (plan.layers[-1].features + 4) * plan.classes
    return BackpropPlan(arena, weights + head, "computed: int8 activations stored, one int8 error")


@lru_cache(maxsize=32)
def _in_place(plan: Plan, batch: int, stretches: int) -> BackpropPlan:
    words = f", checkpoints between {stretches} stretches" if stretches > 1 else ""
    return _rival(plan, in_place(plan, batch, stretches), f"ExecuTorch, SGD in place{words}")


@lru_cache(maxsize=32)
def _joint(plan: Plan, batch: int) -> BackpropPlan:
    return _rival(plan, joint(plan, batch), "ExecuTorch, joint forward-backward graph")


def _rival(plan: Plan, trace: Traced, source: str) -> BackpropPlan:
    arena, graph = computed_plan(trace, [name for name in trace.inputs if name.startswith(FROZEN)])
    weights = sum(4 * value.numel() for value in FloatNet(plan).parameters())
    return BackpropPlan(arena, weights, source, planned_footprint(graph, [], label="y"))
