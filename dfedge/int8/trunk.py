"""A frozen trunk, evaluated: the one piece of code that every program's trunk is made from."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from dfedge.int8.ops import trunk as ops
from dfedge.trunk import (
    AnyStep,
    Concat,
    Convolve,
    Gate,
    Largest,
    Mean,
    Mix,
    Surround,
    Swish,
    Trunk,
)

Constants = Mapping[str, Tensor]
AT_ONCE = 100
"""Images that `latents` takes through a trunk together."""


def evaluate(trunk: Trunk, constants: Constants, x: Tensor) -> Tensor:
    """Images int8 [B, H, W, C] -> what the first layer receives, int8 [B, H', W', C']."""
    last = {read: i for i, step in enumerate(trunk.steps) for read in step.reads}
    values = {0: x}
    for i, step in enumerate(trunk.steps):
        values[i + 1] = apply(step, i, constants, [values[read] for read in step.reads])
        for read in step.reads:
            if last[read] == i:
                values.pop(read, None)
    return values[len(trunk.steps)]


def apply(step: AnyStep, number: int, constants: Constants, given: list[Tensor]) -> Tensor:
    """One step."""
    x = given[0]
    match step:
        case Convolve():
            parts = [constants[f"{number}.{name}"] for name in ("weight", "bias", "lift", "limit")]
            return ops.conv_scaled(x, *parts, step.shift, step.geometry)
        case Surround():
            top, bottom, left, right = step.pads
            return F.pad(x, (0, 0, left, right, top, bottom), value=step.fill)
        case Mix():
            if len(given) == 1:
                return ops.scaled(x, step.factors[0], step.offset, step.shift)
            return ops.mixed(*given, *step.factors, step.offset, step.shift)
        case Gate():
            return ops.gated(*given, *step.zeros, step.factor, step.offset, step.shift)
        case Swish():
            return ops.swish(x, step.zero, step.slope, step.half, step.bend, step.factor,
                             step.offset, step.shift)  # fmt: skip
        case Mean():
            return ops.mean_scaled(
                x, *step.kernel, step.stride, step.factor, step.offset, step.shift
            )
        case Largest():
            return ops.max_window(x, [*step.kernel, step.stride, *step.pads, 0])
        case Concat():
            return torch.cat(given, 3)


@torch.no_grad()
def latents(trunk: Trunk | None, constants: Constants, x: Tensor) -> Tensor:
    """As `evaluate`, of any number of images; without a trunk the images themselves."""
    if trunk is None:
        return x
    parts = [x[i : i + AT_ONCE] for i in range(0, len(x), AT_ONCE)]
    return torch.cat([evaluate(trunk, constants, part) for part in parts])
