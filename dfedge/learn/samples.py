"""A split as tensors on the training device."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.errors import DfedgeError
from dfedge.int8 import trunk as exact
from dfedge.int8.trunk import Constants
from dfedge.native import latents as native
from dfedge.trunk import Trunk


@dataclass(frozen=True)
class Samples:
    """Pixels 0..127 int8 [N, C, H, W], labels int64 [N]."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Tensor) -> "Samples":
        """The samples at ``index``."""
        here = index.to(self.x.device)
        return Samples(self.x[here], self.y[here])

    def hold_out(self, count: int, seed: int) -> tuple["Samples", "Samples"]:
        """(The rest, ``count`` samples drawn from the seed)."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self.take(order[count:]), self.take(order[:count])


def to_samples(
    split: Split,
    device: str = "cpu",
    trunk: Trunk | None = None,
    constants: Constants | None = None,
) -> Samples:
    """A split on a device, as the first layer sees it: behind the trunk where there is one."""
    seen = torch.from_numpy(to_input(split.x))
    if trunk is not None:
        seen = behind(trunk, constants or {}, seen)
    x = seen.permute(0, 3, 1, 2).contiguous()
    return Samples(x.to(device), torch.from_numpy(split.y).to(device))


def behind(trunk: Trunk, constants: Constants, x: Tensor) -> Tensor:
    """Images int8 [N, H, W, C] as the first layer sees them.

    By the C interpreter where there is one: the same bits in a tenth of the time.
    """
    try:
        given = {name: value.numpy() for name, value in constants.items()}
        return torch.from_numpy(native.latents(trunk, given, x.numpy()))
    except DfedgeError:
        return exact.latents(trunk, constants, x)


def from_samples(samples: Samples) -> Split:
    """The images again, as a program that halves them would be fed: pixels 0, 2, ... 254."""
    x = samples.x.permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8) << 1
    return Split(np.ascontiguousarray(x), samples.y.cpu().numpy().astype(np.int64))


def batches(samples: Samples, size: int = 500) -> Iterator[tuple[Tensor, Tensor]]:
    """In order, for evaluation."""
    for i in range(0, len(samples), size):
        yield samples.x[i : i + size], samples.y[i : i + size]
