"""The programs of a bundle as torch modules: one wrapper a method, around one and the same step.

A method's name carries its batch size: ``train_b16``, ``infer_b1``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dfedge.bundle import LEARNING
from dfedge.compile.state import State
from dfedge.compile.step import features, infer, train, train_from
from dfedge.int8.trunk import Constants, evaluate
from dfedge.plan import Plan

Results = tuple[State | None, tuple[Tensor, ...]]


def _train(plan: Plan, state: State, x: Tensor, y: Tensor) -> Results:
    new, *rest = train(plan, state, x, y)
    return new, tuple(rest)


def _train_from(plan: Plan, state: State, z: Tensor, y: Tensor) -> Results:
    new, *rest = train_from(plan, state, z, y)
    return new, tuple(rest)


KINDS: dict[str, Callable[..., Results]] = {
    "train": _train,
    "infer": lambda plan, state, x: (None, (infer(plan, state, x),)),
    "features": lambda plan, state, x: (None, features(plan, state, x)),
    "train_from": _train_from,
}
"""What each kind of method calls: (plan, state, x[, y]) -> (new state or None, results)."""


def call(
    plan: Plan, constants: Constants, kind: str, state: State, x: Tensor, *y: Tensor
) -> Results:
    """A method: x, unless it is a latent, goes through the plan's trunk first."""
    if plan.trunk is not None and kind != "train_from":
        x = evaluate(plan.trunk, constants, x)
    return KINDS[kind](plan, state, x, *y)


@dataclass(frozen=True)
class Method:
    """One entry point: ``kind`` is a key of `KINDS`, ``batch`` its fixed batch size."""

    kind: str
    batch: int

    @property
    def name(self) -> str:
        """The entry point's name in every format."""
        return f"{self.kind}_b{self.batch}"

    @property
    def learns(self) -> bool:
        """Whether it takes labels and rewrites the state."""
        return self.kind in LEARNING

    def example(self, plan: Plan) -> tuple[Tensor, ...]:
        """Inputs of the right shapes and types, all zero."""
        shape = plan.latent_shape if self.kind == "train_from" else plan.input_shape
        x = torch.zeros((self.batch, *shape), dtype=torch.int8)
        return (x, torch.zeros((self.batch,), dtype=torch.int32)) if self.learns else (x,)

    def results(self, plan: Plan) -> list[str]:
        """Names of what it gives back, beside the state."""
        if self.learns:
            return ["scores", "active"]
        if self.kind == "features":
            return [f"features{i}" for i in range(len(plan.layers))] + ["latent"]
        return ["scores"]


def methods(plan: Plan, batches: set[int]) -> tuple[Method, ...]:
    """The entry points that a plan has."""
    kinds = ["train", "infer"]
    if plan.form == "one-pass":
        kinds.append("features")
    if plan.frozen:
        kinds.append("train_from")
    return tuple(Method(kind, batch) for kind in kinds for batch in sorted(batches))


def handed(plan: Plan, batch: int) -> list[int]:
    """Bytes that each layer is handed: int8 [batch, H, W, C]."""
    shapes = [plan.seen_shape, *(layer.hands_on for layer in plan.layers[:-1])]
    return [batch * math.prod(shape) for shape in shapes]
