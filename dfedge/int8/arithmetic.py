"""Arithmetic over torch's tensors: what its forms share (`dfedge.operations.Arithmetic`)."""

import torch
import torch.nn.functional as F
from torch import Tensor


class TensorArithmetic:
    """What is the same whatever wide values are."""

    def clip(self, total: Tensor, most: Tensor) -> Tensor:
        """Within 0..most."""
        return torch.minimum(total.clamp(min=0), most)

    def pad(self, x: Tensor, pads: tuple[int, int, int, int], fill: int) -> Tensor:
        """int8."""
        top, bottom, left, right = pads
        return F.pad(x, (0, 0, left, right, top, bottom), value=fill)

    def concat(self, parts: list[Tensor]) -> Tensor:
        """int8."""
        return torch.cat(parts, 3)

    def select(self, x: Tensor, order: Tensor) -> Tensor:
        """int8."""
        return x.index_select(3, order)

    def gather(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """int8."""
        return x.index_select(1, rows).index_select(2, columns)
