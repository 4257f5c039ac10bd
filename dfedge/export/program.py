"""The programs of a bundle as torch modules: one wrapper a method, around one and the same step.

A method's name carries its batch size: ``train_b16``, ``infer_b1``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dfedge.lower.plan import State, StepPlan
from dfedge.lower.step import infer, train


@dataclass(frozen=True)
class Method:
    """One entry point: ``kind`` is train or infer, ``batch`` its fixed batch size."""

    kind: str
    batch: int

    @property
    def name(self) -> str:
        """The entry point's name in every format."""
        return f"{self.kind}_b{self.batch}"

    def example(self, plan: StepPlan) -> tuple[Tensor, ...]:
        """Inputs of the right shapes and types, all zero."""
        x = torch.zeros((self.batch, *plan.input_shape), dtype=torch.int8)
        y = torch.zeros((self.batch,), dtype=torch.int32)
        return (x, y) if self.kind == "train" else (x,)


class FunctionalProgram(nn.Module):
    """State in, state out: ``(*state, x[, y]) -> (*changed state, scores[, active])``."""

    def __init__(self, plan: StepPlan, names: list[str], method: Method) -> None:
        super().__init__()
        self.plan, self.names, self.method = plan, names, method

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """One call of the method."""
        state = dict(zip(self.names, inputs, strict=False))
        rest = inputs[len(self.names) :]
        if self.method.kind == "infer":
            return (infer(self.plan, state, rest[0]),)
        new, scores, active = train(self.plan, state, rest[0], rest[1])
        return (*(new[name] for name in changed_names(self.names)), scores, active)


def changed_names(names: list[str]) -> list[str]:
    """The state that training rewrites, in state order; the rest only steers it."""
    parts = (".weight", ".bias", ".anchors")
    return [name for name in names if name == "phase" or name.endswith(parts)]


class StatefulModule(nn.Module):
    """The state as buffers, shared by the wrappers of all methods."""

    def __init__(self, plan: StepPlan, state: State) -> None:
        super().__init__()
        self.plan, self.names = plan, list(state)
        for name, value in state.items():
            self.register_buffer(name.replace(".", "_"), value.clone())

    def state(self) -> State:
        """The buffers by their state names."""
        return {name: self.get_buffer(name.replace(".", "_")) for name in self.names}


class StatefulProgram(nn.Module):
    """State inside: ``(x[, y]) -> (scores[, active])``."""

    def __init__(self, inner: StatefulModule, method: Method) -> None:
        super().__init__()
        self.inner, self.method = inner, method

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, ...]:
        """One call of the method."""
        state = self.inner.state()
        if self.method.kind == "infer" or y is None:
            return (infer(self.inner.plan, state, x),)
        new, scores, active = train(self.inner.plan, state, x, y)
        for name in changed_names(self.inner.names):
            state[name].copy_(new[name])
        return scores, active


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
