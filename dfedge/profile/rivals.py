"""What back-propagation of the same part of a net would need, planned by the same ExecuTorch.

The rival is `dfedge.bench.rival`'s: float32, folded normalisation, a linear head, SGD; its state is
what learns, and frozen weights are constants, as dfedge's are.  Two honest
plans of it are made and the smaller one counts: the joint forward-backward graph of ExecuTorch's
training extension, and one method whose weights are state and are updated in place as soon as their
gradient is there.  With checkpointing only every k-th activation is kept (k the root of the number
of layers) and each stretch is computed again on the way back.
"""

import math
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from dfedge.bench.frozen import frozen
from dfedge.bench.rival import (
    LEARNING_RATE,
    FloatLoss,
    FloatNet,
    example,
    gives_scores,
    latents,
    planned,
)
from dfedge.exporters.executorch_plan import planned_footprint
from dfedge.exporters.planned import native_arena
from dfedge.exporters.program import Method
from dfedge.plan import Plan
from dfedge.profile.rival import Rival
from dfedge.quiet import quiet

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


class InPlace(nn.Module):
    """``(x, y) -> loss``: a traced step whose weights are state."""

    def __init__(self, plan: Plan, batch: int, stretches: int) -> None:
        super().__init__()
        self.frozen, stretched = frozen(plan), Stretches(plan, stretches)
        weights = {n: v.detach().clone() for n, v in stretched.net.named_parameters()}
        self.names = [name.replace(".", "_") for name in weights]
        for name, value in zip(self.names, weights.values(), strict=True):
            self.register_buffer(name, value)

        def step(weights: Weights, x: Tensor, y: Tensor) -> tuple[Weights, Tensor]:
            return stretched.step(weights, x, y)  # a function: make_fx counts a method's self

        self.traced = make_fx(step, tracing_mode="fake")(weights, *latents(plan, batch))
        self.keys = list(weights)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss before the step."""
        weights = {key: self.get_buffer(n) for key, n in zip(self.keys, self.names, strict=True)}
        new, loss = self.traced(weights, self.frozen(x), y)
        for key, name in zip(self.keys, self.names, strict=True):
            self.get_buffer(name).copy_(new[key])
        result: Tensor = loss
        return result


def back_propagation(plan: Plan, batch: int) -> Rival:
    """The smaller of the two plans.

    Raises:
        DfedgeError: ExecuTorch can export neither.
    """
    plans = [_joint(plan, batch), _in_place(plan, batch, 1)]
    return min(plans, key=lambda rival: rival.arena_bytes + rival.state_bytes)


def checkpointed(plan: Plan, batch: int) -> Rival:
    """Weights updated in place, a root of the layers that learn in a stretch."""
    return _in_place(plan, batch, round(math.sqrt(len(plan.layers) - plan.cut)))


def accumulated(single: Rival) -> Rival:
    """A batch one by one: the plan at batch 1, and a float32 gradient beside every weight."""
    return Rival(single.arena_bytes, 2 * single.state_bytes, f"{single.source}, batch 1")


def int8_ideal(plan: Plan, batch: int) -> Rival:
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
    return Rival(arena, weights + head, "computed: int8 activations stored, one int8 error")


@lru_cache(maxsize=32)
def _in_place(plan: Plan, batch: int, stretches: int) -> Rival:
    with quiet():
        step = InPlace(plan, batch, stretches)
        exported = torch.export.export(step, example(plan, batch), strict=False)
        arena, graph = planned(exported.run_decompositions())
    words = f", checkpoints between {stretches} stretches" if stretches > 1 else ""
    return _rival(plan, arena, graph, f"ExecuTorch, SGD in place{words}")


@lru_cache(maxsize=32)
def _joint(plan: Plan, batch: int) -> Rival:
    from torch.export.experimental import _export_forward_backward

    with quiet():
        exported = torch.export.export(FloatLoss(plan), example(plan, batch), strict=True)
        arena, graph = planned(_export_forward_backward(exported))
    return _rival(plan, arena, graph, "ExecuTorch, joint forward-backward graph")


def _rival(plan: Plan, arena: int, graph: GraphModule, source: str) -> Rival:
    weights = sum(4 * value.numel() for value in FloatNet(plan).parameters())
    return Rival(arena, weights, source, planned_footprint(graph, [], label="y"))
