"""As `dfedge.int8.ops.trunk`: the operations' definitions over int32."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from dfedge.int8.arithmetic import TensorArithmetic
from dfedge.int8.ops.trunk import record_of
from dfedge.int8.ops.values import ACTIVATION_MAX
from dfedge.int8.stock.convolution import conv_sum, taps
from dfedge.int8.stock.primitives import I8, I32, constant, shift_right


class Stock(TensorArithmetic):
    """As `dfedge.operations.Arithmetic`; wide values are int32."""

    def wide(self, x: Tensor) -> Tensor:
        return x.to(I32)

    def narrow(self, total: Tensor, shift: int) -> Tensor:
        """What is negative ends at 0 in any case, and is never shifted."""
        positive = total.clamp(min=0)
        shifted = shift_right(positive, constant(shift)) if shift else positive
        return shifted.clamp(max=ACTIVATION_MAX).to(I8)

    def take(self, table: Tensor, x: Tensor) -> Tensor:
        return table.index_select(0, x.reshape(-1).to(I32)).reshape(x.shape)

    def take_each(self, table: Tensor, x: Tensor) -> Tensor:
        """Of the tables one after the other, which any runtime gathers from along one axis."""
        channels, levels = table.shape
        starts = torch.arange(channels, dtype=I32) * levels
        places = (x.to(I32) + starts).reshape(-1)
        return table.reshape(-1).index_select(0, places).reshape(x.shape)

    def convolve(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        geometry: Sequence[int],
        end: Callable[[Tensor], Tensor],
    ) -> Tensor:
        return end(conv_sum(x, weight, bias, geometry))

    def window_sum(self, x: Tensor, geometry: Sequence[int]) -> Tensor:
        if tuple(geometry[:2]) == tuple(x.shape[1:3]) and not any(geometry[3:7]):
            return x.to(I32).sum((1, 2), keepdim=True, dtype=I32)
        first, *rest = taps(x, geometry)
        total = first.to(I32)
        for tap in rest:
            total = total + tap.to(I32)
        return total

    def by_place(self, numbers: Sequence[Sequence[int]]) -> Tensor:
        """Of constants that runtimes fill themselves: rows and columns that are alike are one."""
        return torch.cat([
            torch.cat([torch.full((1, high, wide, 1), value, dtype=I32)
                       for value, wide in _runs(row)], 2)
            for row, high in _runs(numbers)
        ], 1)  # fmt: skip

    def window_max(self, x: Tensor, geometry: Sequence[int]) -> Tensor:
        first, *rest = taps(x, geometry)
        for tap in rest:
            first = torch.maximum(first, tap)
        return first


def _runs(items: Sequence[Any]) -> list[tuple[Any, int]]:
    """What follows itself, once, and how often."""
    return [(key, len(list(same))) for key, same in groupby(items)]


STOCK = Stock()


def operation(record: str, given: Sequence[Tensor], constants: Sequence[Tensor]) -> Tensor:
    made: Tensor = record_of(record).evaluate(STOCK, list(given), list(constants))
    return made
