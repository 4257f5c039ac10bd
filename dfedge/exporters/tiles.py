"""The stock rendering as ExecuTorch runs it: a tile at a time, over float32 matrix products.

The primitives of the stock rendering become float32 matrix products of integers, exact because
they are cut so that no partial sum reaches 2^24, and `bitwise_right_shift`.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from dfedge.exporters.casts import cast_fast
from dfedge.exporters.order import pool_errors
from dfedge.exporters.program import Method
from dfedge.exporters.traced import KEPT, Traced, core, rendered, traced
from dfedge.int8 import stock
from dfedge.int8.bounds import EXACT_DEPTH
from dfedge.int8.stock.tiled import Tiled
from dfedge.plan import Plan


def _matmul_i32(a: Tensor, b: Tensor) -> Tensor:
    """int8 [M, K] x int8 [K, N] -> int32 [M, N], or G of them; K cut into exact stretches."""
    multiply = torch.mm if a.dim() == 2 else torch.bmm
    total: Tensor | None = None
    depth = a.shape[-1]
    for start in range(0, depth, EXACT_DEPTH):
        size, left, right = min(EXACT_DEPTH, depth - start), a, b
        if size < depth:  # a slice is a copy, of the whole as well
            left, right = a.narrow(-1, start, size), b.narrow(-2, start, size)
        part = multiply(left.to(torch.float32), right.to(torch.float32)).to(torch.int32)
        total = part if total is None else total + part
    assert total is not None
    return total


def _correlate(a: Tensor, b: Tensor) -> Tensor:
    """``a^T b`` as ``(b^T a)^T``, whose transposed operands are the small ones."""
    return _matmul_i32(b.transpose(0, 1), a).transpose(0, 1)


def _shift_right(v: Tensor, shift: Tensor) -> Tensor:
    return torch.bitwise_right_shift(v, shift)


PRIMITIVES: dict[Any, Any] = {
    torch.ops.dfedge.matmul_i32.default: _matmul_i32,
    torch.ops.dfedge.matmul_signed.default: _matmul_i32,
    torch.ops.dfedge.correlate.default: _correlate,
    torch.ops.dfedge.shift_right.default: _shift_right,
}


@lru_cache(maxsize=KEPT)
def in_tiles(plan: Plan, method: Method, tile_bytes: int) -> Traced:
    """A method in operators that ExecuTorch has.

    Args:
        tile_bytes: `dfedge.int8.stock.tiled.Tiled.floor`.
    """
    tiles = core() | stock.decompositions() | Tiled(tile_bytes).decompositions() | PRIMITIVES
    found = rendered(pool_errors(traced(plan, method)), tiles)
    cast_fast(found.graph)
    found.module.recompile()
    return found
