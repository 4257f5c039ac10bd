"""What no two runtimes do alike: integer matrix products and the shift.

matmul_i32(a, b)      int8 [M, K] in 0..127 times int8 [K, N] -> int32 [M, N]; or [G, M, K] times
                      [G, K, N] -> [G, M, N], G products
matmul_signed(a, b)   the same for a in -127..127
correlate(a, b)       int8 [M, K] in 0..127, transposed, times int8 [M, N] -> int32 [K, N]
shift_right(v, s)     int32 >= 0 of any shape, int32 scalar 0..31 -> floor(v / 2^s)
"""

import torch
from torch import Tensor
from torch.library import custom_op

I8, I32 = torch.int8, torch.int32


@custom_op("dfedge::matmul_i32", mutates_args=())
def matmul_i32(a: Tensor, b: Tensor) -> Tensor:
    """Integer product: int8 [M, K], values 0..127, times int8 [K, N] -> int32 [M, N]; or G such."""
    return (a.double() @ b.double()).to(I32)


@matmul_i32.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty((*a.shape[:-1], b.shape[-1]), dtype=I32)


@custom_op("dfedge::matmul_signed", mutates_args=())
def matmul_signed(a: Tensor, b: Tensor) -> Tensor:
    """Integer product: int8 [M, K], values -127..127, times int8 [K, N] -> int32 [M, N]."""
    return (a.double() @ b.double()).to(I32)


@matmul_signed.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty((a.shape[0], b.shape[1]), dtype=I32)


@custom_op("dfedge::correlate", mutates_args=())
def correlate(a: Tensor, b: Tensor) -> Tensor:
    """Sum over rows: int8 [M, K], values 0..127, and int8 [M, N] -> int32 [K, N]."""
    return (a.double().T @ b.double()).to(I32)


@correlate.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty((a.shape[1], b.shape[1]), dtype=I32)


@custom_op("dfedge::shift_right", mutates_args=())
def shift_right(v: Tensor, shift: Tensor) -> Tensor:
    """``floor(v / 2^shift)`` of non-negative int32."""
    return v >> shift


@shift_right.register_fake
def _(v: Tensor, shift: Tensor) -> Tensor:
    return torch.empty_like(v)


def constant(value: int) -> Tensor:
    """An int32 scalar."""
    return torch.full((), value, dtype=I32)


def rounded(v: Tensor, shift: int) -> Tensor:
    """``(v + 2^(shift-1)) >> shift`` of non-negative int32: halves upward."""
    return shift_right(v + ((1 << shift) >> 1), constant(shift)) if shift else v
