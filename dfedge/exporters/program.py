"""The programs of a bundle as torch modules: one wrapper a method, around one and the same step.

A method's name carries its batch size: ``train_b16``, ``infer_b1``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from dfedge.bundle import LEARNING
from dfedge.compile.state import State, changed_names
from dfedge.compile.step import features, infer, train, train_from
from dfedge.int8 import stock
from dfedge.int8.trunk import Constants, evaluate
from dfedge.plan import Plan
from dfedge.trunk import Trunk

Decompositions = Mapping[Any, Callable[..., Any]]
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


class FunctionalProgram(nn.Module):
    """State in, state out: ``(*state, x[, y]) -> (*changed state, *results)``."""

    def __init__(self, plan: Plan, names: list[str], method: Method, constants: Constants) -> None:
        super().__init__()
        self.plan, self.names, self.method, self.constants = plan, names, method, constants

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """One call of the method."""
        state = dict(zip(self.names, inputs, strict=False))
        rest = inputs[len(self.names) :]
        new, results = call(self.plan, self.constants, self.method.kind, state, *rest)
        if new is None:
            return results
        return (*(new[name] for name in changed_names(self.names, self.plan.cut)), *results)


@dataclass(frozen=True)
class Functional:
    """A method exported over functional state, in stock operators and primitives.

    Attributes:
        inputs: names of what goes in: the state, x, y.
        outputs: names of what comes out; the new value of a tensor NAME is ``NAME.next``.
    """

    program: ExportedProgram
    inputs: list[str]
    outputs: list[str]


def export_functional(
    plan: Plan,
    state: State,
    method: Method,
    constants: Constants,
    more: Decompositions = MappingProxyType({}),
) -> Functional:
    """What every format without state of its own is made from.

    Args:
        more: operators that the format says in others, beside those of the stock rendering.
    """
    names, given = list(state), method.example(plan)
    changed = changed_names(names, plan.cut) if method.learns else []
    module = FunctionalProgram(plan, names, method, constants)
    program = torch.export.export(module, (*state.values(), *given), strict=False)
    return Functional(
        program.run_decompositions(stock.decompositions() | dict(more)),
        names + ["x", "y"][: len(given)],
        [f"{name}.next" for name in changed] + method.results(plan),
    )


class TrunkProgram(nn.Module):
    """A trunk alone: images in, out what the first layer receives."""

    def __init__(self, trunk: Trunk, constants: Constants) -> None:
        super().__init__()
        self.trunk, self.constants = trunk, constants

    def forward(self, x: Tensor) -> Tensor:
        """int8 [B, H, W, C] -> int8 [B, H', W', C']."""
        return evaluate(self.trunk, self.constants, x)


def export_trunk(trunk: Trunk, batch: int, constants: Constants) -> Functional:
    """As `export_functional`: what all methods of a batch size begin with, ``x -> latent``."""
    x = torch.zeros((batch, *trunk.input_shape), dtype=torch.int8)
    program = torch.export.export(TrunkProgram(trunk, constants), (x,), strict=False)
    return Functional(program.run_decompositions(stock.decompositions()), ["x"], ["latent"])


class StatefulModule(nn.Module):
    """The state as buffers, shared by the wrappers of all methods."""

    def __init__(self, plan: Plan, state: State, constants: Constants) -> None:
        super().__init__()
        self.plan, self.names, self.constants = plan, list(state), constants
        for name, value in state.items():
            self.register_buffer(name.replace(".", "_"), value.clone())

    def state(self) -> State:
        """The buffers by their state names."""
        return {name: self.get_buffer(name.replace(".", "_")) for name in self.names}


class StatefulProgram(nn.Module):
    """State inside: ``(x[, y]) -> results``."""

    def __init__(self, inner: StatefulModule, method: Method) -> None:
        super().__init__()
        self.inner, self.method = inner, method

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """One call of the method."""
        state, plan = self.inner.state(), self.inner.plan
        new, results = call(plan, self.inner.constants, self.method.kind, state, *inputs)
        if new is not None:
            for name in changed_names(self.inner.names, plan.cut):
                state[name].copy_(new[name])
        return results


class GetState(nn.Module):
    """``() -> *state``, in state order."""

    def __init__(self, inner: StatefulModule) -> None:
        super().__init__()
        self.inner = inner

    def forward(self) -> tuple[Tensor, ...]:
        """A copy of every buffer."""
        return tuple(value.clone() for value in self.inner.state().values())


class SetState(nn.Module):
    """``(*state) -> count of tensors set``, in state order."""

    def __init__(self, inner: StatefulModule) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *values: Tensor) -> Tensor:
        """Overwrite every buffer."""
        for buffer, value in zip(self.inner.state().values(), values, strict=True):
            buffer.copy_(value)
        return values[-1] + 0
