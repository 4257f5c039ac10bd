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
from dfedge.int8.ops.values import ACTIVATION_MAX, WEIGHT_MAX

EXACT_FLOAT = 1 << 24


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
        """In float32 where that is exact."""
        fan_in = weight.shape[0] * (1 if geometry[7] else weight.shape[1])
        steps = strides_of(geometry)
        # Exact in float32 where no partial sum reaches 2^24: several times faster.  (Where
        # strides differ, torch 2.13 sums one channel's convolution wrongly in float32.)
        exact = fan_in * ACTIVATION_MAX * WEIGHT_MAX < EXACT_FLOAT and steps[0] == steps[1]
        dtype = torch.float32 if exact else torch.float64
        kernel, groups = kernel_of(weight, geometry).to(dtype), groups_of(weight, geometry)
        total = F.conv2d(padded(x, geometry).to(dtype), kernel, None, steps, groups=groups)
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
