"""The table of lowerings: a node of the traced graph -> ONNX's operators.

Only types that ONNX Runtime has kernels for on a CPU: int32 and float32 for arithmetic, int8 where
values are only moved or compared, uint32 for BitShift, which there is none of on int32.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dfedge.exporters.graph import I8, I32, StockGraph
from dfedge.exporters.lowered import LoweringNode
from dfedge.exporters.onnx.emit import (
    U32,
    binary,
    cast,
    numbers,
    product_of,
    reshape,
    transpose,
)
from dfedge.int8.stock import primitives  # noqa: F401  registers them

Lowering = Callable[[LoweringNode], int]


def arithmetic(kind: str) -> Lowering:
    """An operator on int32 or float32; on int8 by way of int32."""

    def lower(n: LoweringNode) -> int:
        wanted = I32 if n.dtype == I8 else n.dtype
        a, b = (cast(n.g, n.operand(i, wanted), wanted) for i in (0, 1))
        return cast(n.g, binary(n.g, kind, a, b), n.dtype)

    return lower


def add(n: LoweringNode) -> int:
    """What adds nothing is there for a result of its own, which it becomes in any case."""
    return n.operand(0) if n.args[1] == 0 else arithmetic("Add")(n)


def comparison(kind: str) -> Lowering:
    """A comparison of integers of one type."""

    def lower(n: LoweringNode) -> int:
        a = n.operand(0)
        return binary(n.g, kind, a, n.operand(1, n.g.types[a]), np.bool_)

    return lower


def extreme(kind: str) -> Lowering:
    """Element-wise maximum or minimum."""
    return lambda n: binary(n.g, kind, n.operand(0), n.operand(1))


def clamp(n: LoweringNode) -> int:
    x = n.operand(0)
    least, most = (n.get(i, None) for i in (1, 2))
    if least is not None and most is not None:
        return n.g.op("Clip", [x, n.operand(1), n.operand(2)], n.shape, n.dtype)
    return (
        binary(n.g, "Max", x, n.operand(1)) if most is None else binary(n.g, "Min", x, n.operand(2))
    )


def plain(kind: str) -> Lowering:
    """Of one operand, to the same shape and type."""
    return lambda n: n.g.op(kind, [n.operand(0)], n.shape, n.dtype)


def low_bits(n: LoweringNode) -> int:
    return binary(n.g, "BitwiseAnd", n.operand(0), n.operand(1))


def take(n: LoweringNode) -> int:
    g, x, (axis, *part) = n.g, n.operand(0), n.part()
    if part == [0, g.shapes[x][axis], 1]:
        return x
    start, stop, step = part
    given = [numbers(g, [value]) for value in (start, stop, axis, step)]
    return g.op("Slice", [x, *given], n.shape, n.dtype)


def select(n: LoweringNode) -> int:
    at = n.g.const(n.args[2], np.int64)
    return n.g.op("Gather", [n.operand(0), at], n.shape, n.dtype, {"axis": n.args[1]})


def gather(n: LoweringNode) -> int:
    given = [n.operand(0), n.operand(2)]
    return n.g.op("Gather", given, n.shape, n.dtype, {"axis": n.args[1]})


def pad(n: LoweringNode) -> int:
    pairs = n.sides()
    sides = numbers(n.g, [first for first, _ in pairs] + [last for _, last in pairs])
    fill = n.g.const(n.get(2, 0), n.dtype)
    return n.g.op("Pad", [n.operand(0), sides, fill], n.shape, n.dtype)


def cat(n: LoweringNode) -> int:
    parts = [part.tensor for part in n.args[0]]
    if len(parts) == 1:
        return parts[0]
    return n.g.op("Concat", parts, n.shape, n.dtype, {"axis": n.get(1, 0) % len(n.shape)})


def expand(n: LoweringNode) -> int:
    x = n.operand(0)
    if n.g.shapes[x] == n.shape:
        return x
    return n.g.op("Expand", [x, numbers(n.g, n.shape)], n.shape, n.dtype)


def permute(n: LoweringNode) -> int:
    return transpose(n.g, n.operand(0), [axis % len(n.shape) for axis in n.args[1]])


def reduction(kind: str) -> Lowering:
    """Over given axes, to the result's type."""

    def lower(n: LoweringNode) -> int:
        axes, x = n.axes(1), cast(n.g, n.operand(0), n.dtype)
        keep = len(n.shape) == len(n.g.shapes[x])
        return n.g.op(kind, [x, numbers(n.g, axes)], n.shape, n.dtype, {"keepdims": int(keep)})

    return lower


def shift_right(n: LoweringNode) -> int:
    g = n.g
    value, shift = (cast(g, n.operand(i, U32), U32) for i in (0, 1))
    shifted = g.op("BitShift", [value, shift], n.shape, U32, {"direction": "RIGHT"})
    return cast(g, shifted, I32)


def matmul(n: LoweringNode) -> int:
    return product_of(n.g, n.operand(0), n.operand(1))


def matmul_signed(n: LoweringNode) -> int:
    """By the positive and the negative part of a, because neither exceeds 127."""
    g, b = n.g, n.operand(1)
    wide, zero = cast(g, n.operand(0), I32), g.const(0)
    above = binary(g, "Max", wide, zero)
    below = binary(g, "Max", binary(g, "Sub", zero, wide), zero)
    return binary(g, "Sub", product_of(g, above, b), product_of(g, below, b))


def correlate(n: LoweringNode) -> int:
    g = n.g
    return product_of(g, transpose(g, cast(g, n.operand(0), np.uint8), (1, 0)), n.operand(1))


def same(n: LoweringNode) -> int:
    return n.operand(0)


def shaped(n: LoweringNode) -> int:
    return reshape(n.g, n.operand(0), n.shape)


def copied(g: StockGraph, x: int) -> int:
    """The same values in a tensor of their own."""
    return g.op("Identity", [x], g.shapes[x], g.types[x])


aten, own = torch.ops.aten, torch.ops.dfedge

TABLE: dict[Any, Lowering] = {
    aten.add.Tensor: add,
    aten.sub.Tensor: arithmetic("Sub"),
    aten.mul.Tensor: arithmetic("Mul"),
    aten.maximum.default: extreme("Max"),
    aten.minimum.default: extreme("Min"),
    aten.clamp.default: clamp,
    aten.sign.default: plain("Sign"),
    aten.abs.default: plain("Abs"),
    aten.floor.default: plain("Floor"),
    aten.bitwise_and.Scalar: low_bits,
    aten.eq.Tensor: comparison("Equal"),
    aten.gt.Tensor: comparison("Greater"),
    aten.le.Tensor: comparison("LessOrEqual"),
    aten.gt.Scalar: comparison("Greater"),
    aten.ge.Scalar: comparison("GreaterOrEqual"),
    aten.lt.Scalar: comparison("Less"),
    aten._to_copy.default: lambda n: cast(n.g, n.operand(0), n.dtype),
    aten.view.default: shaped,
    aten.squeeze.dims: shaped,
    aten.unsqueeze.default: shaped,
    aten.expand.default: expand,
    aten.permute.default: permute,
    aten.slice.Tensor: take,
    aten.select.int: select,
    aten.index_select.default: gather,
    aten.cat.default: cat,
    aten.constant_pad_nd.default: pad,
    aten.sum.dim_IntList: reduction("ReduceSum"),
    aten.amax.default: reduction("ReduceMax"),
    aten.amin.default: reduction("ReduceMin"),
    aten.alias.default: same,
    aten.clone.default: same,
    aten.lift_fresh_copy.default: same,
    own.shift_right.default: shift_right,
    own.matmul_i32.default: matmul,
    own.matmul_signed.default: matmul_signed,
    own.correlate.default: correlate,
}
