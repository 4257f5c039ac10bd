"""The exact arithmetic: float64, which holds every sum of int32 without rounding.

It favours the clearest exact arithmetic that PyTorch has.  How a runtime computes the same bits is
the matter of `dfedge.int8.stock`.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dfedge.int8.arithmetic import TensorArithmetic
from dfedge.int8.ops.convolution import groups_of, kernel_of, nhwc, padded, strides_of
from dfedge.int8.ops.values import ACTIVATION_MAX

EXACT_FLOAT = 1 << 24
MOST_PARTS = 8


class Exact(TensorArithmetic):
    """As `dfedge.operations.Arithmetic`; wide values are float64."""

    def wide(self, x: Tensor) -> Tensor:
        """float64."""
        return x.double()

    def narrow(self, total: Tensor, shift: int) -> Tensor:
        """Clamped to 0..127: int8."""
        return torch.floor(total * 2.0**-shift).clamp(0, ACTIVATION_MAX).to(torch.int8)

    def take(self, table: Tensor, x: Tensor) -> Tensor:
        """Of a table."""
        return table[x.long()]

    def take_each(self, table: Tensor, x: Tensor) -> Tensor:
        """Of each channel's own table."""
        return table[torch.arange(len(table)), x.long()]

    def convolve(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        geometry: Sequence[int],
        end: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """In float32 where that is exact, by parts of the channels where it is not of all."""
        kernel, groups = kernel_of(weight, geometry), groups_of(weight, geometry)
        total = _convolved(padded(x, geometry), kernel, strides_of(geometry), groups)
        return end(nhwc(total, torch.float64) + bias.double())

    def window_sum(self, x: Tensor, geometry: Sequence[int]) -> Tensor:
        """float64."""
        kernel, steps = (geometry[0], geometry[1]), strides_of(geometry)
        total = F.avg_pool2d(padded(x, geometry), kernel, steps, divisor_override=1)
        return nhwc(total, torch.float64)

    def by_place(self, numbers: Sequence[Sequence[int]]) -> Tensor:
        """float64."""
        return torch.tensor(numbers, dtype=torch.float64)[None, :, :, None]

    def window_max(self, x: Tensor, geometry: Sequence[int]) -> Tensor:
        """int8."""
        kernel, steps = (geometry[0], geometry[1]), strides_of(geometry)
        return nhwc(F.max_pool2d(padded(x, geometry), kernel, steps), torch.int8)


def _convolved(x: Tensor, kernel: Tensor, steps: tuple[int, int], groups: int) -> Tensor:
    """The sums, exact: several times as fast in float32, which is so where none reaches 2^24.

    (Where strides differ, torch 2.13 sums one channel's convolution wrongly in float32.)
    """
    parts, most = 1, MOST_PARTS if groups == 1 else 1
    largest = kernel.abs().sum((2, 3)) * ACTIVATION_MAX
    while parts <= most and steps[0] == steps[1]:
        rows = largest.tensor_split(parts, 1)
        if all(float(one.sum(1).amax()) < EXACT_FLOAT for one in rows):
            both = zip(x.tensor_split(parts, 1), kernel.tensor_split(parts, 1), strict=True)
            sums = (F.conv2d(a.float(), w.float(), None, steps, groups=groups) for a, w in both)
            first, *others = (one.double() for one in sums)
            return sum(others, first)
        parts *= 2
    return F.conv2d(x, kernel, None, steps, groups=groups)
