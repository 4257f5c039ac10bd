"""A frozen trunk, evaluated: the one piece of code that every program's trunk is made from."""

from collections.abc import Mapping

import torch
from torch import Tensor

from dfedge.int8.ops.trunk import operation, text_of
from dfedge.operations import AnyOperation
from dfedge.trunk import Trunk

Constants = Mapping[str, Tensor]
AT_ONCE = 100
"""Images that `latents` takes through a trunk together."""


def evaluate(trunk: Trunk, constants: Constants, x: Tensor) -> Tensor:
    """Images int8 [B, H, W, C] -> what the first layer receives, int8 [B, H', W', C']."""
    last = {read: i for i, step in enumerate(trunk.operations) for read in step.reads}
    values = {0: x}
    for i, step in enumerate(trunk.operations):
        values[i + 1] = apply(step, i, constants, [values[read] for read in step.reads])
        for read in step.reads:
            if last[read] == i:
                values.pop(read, None)
    return values[len(trunk.operations)]


def apply(record: AnyOperation, number: int, constants: Constants, given: list[Tensor]) -> Tensor:
    """One operation."""
    names = record.constants([tuple(x.shape[1:]) for x in given])  # type: ignore[misc]
    return operation(text_of(record), given, [constants[f"{number}.{name}"] for name in names])


@torch.no_grad()
def latents(trunk: Trunk | None, constants: Constants, x: Tensor) -> Tensor:
    """As `evaluate`, of any number of images; without a trunk the images themselves."""
    if trunk is None:
        return x
    parts = [x[i : i + AT_ONCE] for i in range(0, len(x), AT_ONCE)]
    return torch.cat([evaluate(trunk, constants, part) for part in parts])
