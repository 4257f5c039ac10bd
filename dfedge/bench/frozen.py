"""What of a plan does not learn, in float32: an adopted net's trunk, and layers below the cut.

A rival runs it forwards alone, as the device does.  Its weights are drawn, for only sizes and times
are compared, and are buffers: no gradient of them is ever made.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfedge.bench.layers import FloatConv, FloatLayer
from dfedge.operations import (
    Add,
    AnyOperation,
    AveragePool,
    Concat,
    Convolution,
    Gather,
    Lookup,
    MaxPool,
    Multiply,
    Operation,
    Pad,
    Select,
    Shape,
)
from dfedge.plan import Plan
from dfedge.trunk import Trunk

Function = Callable[..., Tensor]
"""float32 [B, C, H, W] each -> [B, C', H', W']."""


def frozen(plan: Plan) -> nn.Module:
    """float32 [B, C, H, W], images -> what the first layer that learns receives."""
    parts: list[nn.Module] = [FloatTrunk(plan.trunk)] if plan.trunk else []
    parts += [FloatLayer(layer, pooled=False) for layer in plan.layers[: plan.cut]]
    made = nn.Sequential(*parts)
    for module in made.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, value.detach())
    return made


class FloatTrunk(nn.Module):
    """A trunk's operations in order; what is read no more is freed."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.reads = [operation.reads for operation in trunk.operations]
        self.last = {read: i for i, reads in enumerate(self.reads) for read in reads}
        self.steps = nn.ModuleList(
            _Step(operation, [trunk.shapes[read] for read in operation.reads])
            for operation in trunk.operations
        )

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, C, H, W], images -> what the first layer receives."""
        values = {0: x}
        for i, (step, reads) in enumerate(zip(self.steps, self.reads, strict=True)):
            values[i + 1] = step(*(values[read] for read in reads))
            for read in reads:
                if self.last[read] == i:
                    values.pop(read, None)
        return values[len(self.steps)]


class _Step(nn.Module):
    def __init__(self, operation: AnyOperation, given: list[Shape]) -> None:
        super().__init__()
        made = FUNCTIONS[type(operation)](operation, given)
        self.function: Any = made  # a module of its own is found by torch, its weights with it

    def forward(self, *given: Tensor) -> Tensor:
        result: Tensor = self.function(*given)
        return result


class _Select(nn.Module):
    """By number along an axis, some of so many."""

    def __init__(self, axis: int, made: int, given: int) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("order", torch.arange(made) % given)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(self.axis, self.get_buffer("order"))


def _convolution(one: Convolution, given: list[Shape]) -> Function:
    channels = given[0][2], one.shape[2]
    return nn.Sequential(
        FloatConv(channels, one.kernel, one.steps, one.pads, one.group_count), nn.ReLU()
    )


def _average(one: AveragePool, given: list[Shape]) -> Function:
    if one.kernel == given[0][:2] and not any(one.pads):
        return lambda x: F.adaptive_avg_pool2d(x, 1)
    return lambda x: F.avg_pool2d(_padded(x, one.pads), one.kernel, one.steps)


def _padded(x: Tensor, pads: tuple[int, int, int, int]) -> Tensor:
    top, bottom, left, right = pads
    return F.pad(x, (left, right, top, bottom)) if any(pads) else x


FUNCTIONS: dict[type[Operation], Callable[[Any, list[Shape]], Function]] = {
    Convolution: _convolution,
    Pad: lambda one, _: lambda x: _padded(x, one.pads),
    Add: lambda *_: torch.add,
    Multiply: lambda *_: torch.mul,
    Lookup: lambda *_: F.hardswish,
    AveragePool: _average,
    MaxPool: lambda one, _: lambda x: F.max_pool2d(_padded(x, one.pads), one.kernel, one.steps),
    Concat: lambda *_: lambda *parts: torch.cat(parts, 1),
    Select: lambda one, given: _Select(1, one.shape[2], given[0][2]),
    Gather: lambda one, given: nn.Sequential(
        _Select(2, one.shape[0], given[0][0]), _Select(3, one.shape[1], given[0][1])
    ),
}
"""Operation -> what a float net does in its place: for any table, the cheapest curve there is."""
