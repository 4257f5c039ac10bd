"""Fake quantisation: the integer step's rounding on floats that hold integers."""

from typing import Any

import torch
from torch import Tensor

from dfedge.int8.rounding import round_half_up


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, low: int, high: int) -> Tensor:
        rounded = round_half_up(value)
        ctx.save_for_backward((rounded >= low) & (rounded <= high))
        return rounded.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0] * ctx.saved_tensors[0], None, None


def quantise(value: Tensor, low: int, high: int) -> Tensor:
    """Round half up into [low, high]; the gradient passes where the value lies inside."""
    result: Tensor = _StraightThrough.apply(value, low, high)  # type: ignore[no-untyped-call]
    return result
