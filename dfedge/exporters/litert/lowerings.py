"""The table of lowerings: a node of the exported graph -> TensorFlow Lite's builtin operators.

Kernels know int32 and float32 well and int8 hardly (without quantisation parameters, which would
let them round), so int8 is only moved, padded, compared for the maximum and cast.  Broadcasting is
done by the kernels up to four axes and spelt out above.  Division and remainder meet non-negative
numbers only.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ai_edge_litert.schema_py_generated import BuiltinOperator as Op

from dfedge.exporters.litert.graph import Graph
from dfedge.exporters.litert.options import (
    concat_options,
    plain_options,
    reduce_options,
    reshape_options,
)
from dfedge.int8.bounds import EXACT_DEPTH
from dfedge.int8.stock import primitives  # noqa: F401  registers them

KERNEL_AXES = 4
"""Up to how many axes binary kernels broadcast and pad."""

I8, I32, F32 = np.int8, np.int32, np.float32
DTYPES = {torch.int8: I8, torch.int32: I32, torch.float32: F32, torch.bool: np.bool_}


def cast(g: Graph, x: int, dtype: Any) -> int:
    """Another type."""
    if g.types[x] == np.dtype(dtype):
        return x
    return g.op(Op.CAST, [x], g.shapes[x], dtype, plain_options("Cast"))


def reshape(g: Graph, x: int, shape: Sequence[int]) -> int:
    """Another shape of the same elements."""
    if g.shapes[x] == tuple(shape):
        return x
    return g.op(Op.RESHAPE, [x, g.const(list(shape))], shape, g.types[x], reshape_options(shape))


def broadcast(g: Graph, x: int, shape: Sequence[int]) -> int:
    """Repeat along axes of length one, by joining copies: BROADCAST_TO copies value by value."""
    missing = len(shape) - len(g.shapes[x])
    x = reshape(g, x, (1,) * missing + g.shapes[x])
    for axis in reversed(range(len(shape))):
        if g.shapes[x][axis] != shape[axis]:
            x = join(g, [x] * shape[axis], axis)
    return x


OPTIONS = {
    Op.ADD: "Add", Op.SUB: "Sub", Op.MUL: "Mul", Op.DIV: "Div", Op.FLOOR_MOD: "FloorMod",
    Op.MAXIMUM: "MaximumMinimum", Op.MINIMUM: "MaximumMinimum", Op.EQUAL: "Equal",
    Op.GREATER: "Greater", Op.GREATER_EQUAL: "GreaterEqual", Op.LESS: "Less",
    Op.LESS_EQUAL: "LessEqual",
}  # fmt: skip
COMPARISONS = {Op.EQUAL, Op.GREATER, Op.GREATER_EQUAL, Op.LESS, Op.LESS_EQUAL}


def binary(g: Graph, op: int, a: int, b: int) -> int:
    """An element-wise operator of two operands of one type."""
    shape = np.broadcast_shapes(g.shapes[a], g.shapes[b])
    if len(shape) > KERNEL_AXES and g.shapes[a] != g.shapes[b]:
        if () in (g.shapes[a], g.shapes[b]):  # a scalar: one long axis instead of many
            flat = [reshape(g, t, (math.prod(g.shapes[t]),)) if g.shapes[t] else t for t in (a, b)]
            return reshape(g, binary(g, op, *flat), shape)
        a, b = broadcast(g, a, shape), broadcast(g, b, shape)
    dtype = np.bool_ if op in COMPARISONS else g.types[a]
    return g.op(op, [a, b], shape, dtype, plain_options(OPTIONS[op]))


def wide(g: Graph, x: int) -> int:
    """int8 as int32: no arithmetic on int8."""
    return cast(g, x, I32) if g.types[x] == np.dtype(I8) else x


class Node:
    """A node while it is lowered: its arguments as tensors or Python values, its result's type."""

    def __init__(self, g: Graph, args: list[Any], kwargs: dict[str, Any], value: Any) -> None:
        self.g, self.args, self.kwargs = g, args, kwargs
        self.shape: tuple[int, ...] = tuple(value.shape)
        self.dtype = DTYPES[value.dtype]

    def operand(self, i: int, dtype: Any = None) -> int:
        """An argument as a tensor, a number as a constant of the result's (or a given) type."""
        value = self.args[i]
        if isinstance(value, Ref):
            return value.tensor
        return self.g.const(value, dtype or self.dtype)

    def axes(self, i: int) -> list[int]:
        """An argument that lists axes; an empty list means all."""
        rank = len(self.g.shapes[self.operand(0)])
        given = self.args[i] if isinstance(self.args[i], list | tuple) else [self.args[i]]
        return [axis % rank for axis in given] or list(range(rank))

    def get(self, i: int, default: Any) -> Any:
        """An argument that may be absent."""
        return self.args[i] if len(self.args) > i and self.args[i] is not None else default


class Ref:
    """A tensor among a node's arguments."""

    def __init__(self, tensor: int) -> None:
        self.tensor = tensor


Lowering = Callable[[Node], int]


def arithmetic(op: int) -> Lowering:
    """An operator on int32 or float32; on int8 by way of int32."""

    def lower(n: Node) -> int:
        wanted = I32 if n.dtype == I8 else n.dtype
        a, b = (wide(n.g, n.operand(i, wanted)) for i in (0, 1))
        return cast(n.g, binary(n.g, op, a, b), n.dtype)

    return lower


def reversed_sub(n: Node) -> int:
    return binary(n.g, Op.SUB, n.operand(1), n.operand(0))


def comparison(op: int) -> Lowering:
    """A comparison of integers."""

    def lower(n: Node) -> int:
        a = wide(n.g, n.operand(0))
        return binary(n.g, op, a, wide(n.g, n.operand(1, n.g.types[a])))

    return lower


def extreme(op: int) -> Lowering:
    """Element-wise maximum or minimum; exact on int8 as well."""
    return lambda n: binary(n.g, op, n.operand(0), n.operand(1))


def clamp(n: Node) -> int:
    x = n.operand(0)
    for i, op in ((1, Op.MAXIMUM), (2, Op.MINIMUM)):
        if n.get(i, None) is not None:
            x = binary(n.g, op, x, n.operand(i))
    return x


def sign(n: Node) -> int:
    x = binary(n.g, Op.MAXIMUM, n.operand(0), n.g.const(-1))
    return binary(n.g, Op.MINIMUM, x, n.g.const(1))


def magnitude(n: Node) -> int:
    x = n.operand(0)
    return binary(n.g, Op.MAXIMUM, x, binary(n.g, Op.SUB, n.g.const(0), x))


def low_bits(n: Node) -> int:
    """``v & (2^k - 1)`` of non-negative v."""
    mask = n.args[1]
    assert mask & (mask + 1) == 0
    return binary(n.g, Op.FLOOR_MOD, n.operand(0), n.g.const(mask + 1))


def take(n: Node) -> int:
    x, axis = n.operand(0), n.get(1, 0)
    length = n.g.shapes[x][axis]
    start, stop, step = n.get(2, 0), min(n.get(3, length), length), n.get(4, 1)
    start, stop = (i + length if i < 0 else i for i in (start, stop))
    if (start, stop, step) == (0, length, 1):
        return x
    return _part(n.g, x, axis, start, stop, step, n.shape)


def _part(
    g: Graph, x: int, axis: int, start: int, stop: int, step: int, shape: Sequence[int]
) -> int:
    """A part along one axis; SLICE moves whole rows where STRIDED_SLICE moves values."""
    begin, end, strides = [0] * len(g.shapes[x]), list(g.shapes[x]), [1] * len(g.shapes[x])
    begin[axis], end[axis], strides[axis] = start, stop, step
    if step == 1:
        ends = [g.const(value) for value in (begin, list(shape))]
        return g.op(Op.SLICE, [x, *ends], shape, g.types[x], plain_options("Slice"))
    ends = [g.const(value) for value in (begin, end, strides)]
    return g.op(Op.STRIDED_SLICE, [x, *ends], shape, g.types[x], plain_options("StridedSlice"))


def select(n: Node) -> int:
    x, axis, index = n.operand(0), n.args[1], n.args[2]
    kept = [1 if a == axis else size for a, size in enumerate(n.g.shapes[x])]
    return reshape(n.g, _part(n.g, x, axis, index, index + 1, 1, kept), n.shape)


def pad(n: Node) -> int:
    """With zeros; beyond four axes, or with another number, by joining it on."""
    g, x = n.g, n.operand(0)
    pairs = [(n.args[1][i], n.args[1][i + 1]) for i in range(0, len(n.args[1]), 2)][::-1]
    pairs = [(0, 0)] * (len(n.shape) - len(pairs)) + pairs
    fill = n.get(2, 0)
    if len(n.shape) <= KERNEL_AXES and not fill:
        return g.op(Op.PAD, [x, g.const(pairs)], n.shape, g.types[x], plain_options("Pad"))
    for axis, sides in enumerate(pairs):
        parts = [x]
        for count, at in zip(sides, (0, 1), strict=True):
            if count:
                shape = [count if a == axis else s for a, s in enumerate(g.shapes[x])]
                border = g.const(np.full(shape, fill), g.types[x])
                parts = [*parts, border] if at else [border, *parts]
        x = join(g, parts, axis)
    return x


def join(g: Graph, parts: list[int], axis: int) -> int:
    """Tensors side by side."""
    if len(parts) == 1:
        return parts[0]
    shape = list(g.shapes[parts[0]])
    shape[axis] = sum(g.shapes[part][axis] for part in parts)
    return g.op(Op.CONCATENATION, parts, shape, g.types[parts[0]], concat_options(axis))


def cat(n: Node) -> int:
    axis = n.get(1, 0) % len(n.shape)
    return join(n.g, [part.tensor for part in n.args[0]], axis)


def transpose(g: Graph, x: int, order: Sequence[int]) -> int:
    """Axes in another order."""
    shape = [g.shapes[x][axis] for axis in order]
    inputs = [x, g.const(list(order))]
    return g.op(Op.TRANSPOSE, inputs, shape, g.types[x], plain_options("Transpose"))


def permute(n: Node) -> int:
    return transpose(n.g, n.operand(0), [axis % len(n.shape) for axis in n.args[1]])


def reduction(op: int) -> Lowering:
    """Over given axes, int32."""

    def lower(n: Node) -> int:
        axes, x = n.axes(1), wide(n.g, n.operand(0))
        inputs = [x, n.g.const(axes)]
        keep = len(n.shape) == len(n.g.shapes[x])
        return n.g.op(op, inputs, n.shape, n.g.types[x], reduce_options(keep))

    return lower


def gather(n: Node) -> int:
    """Of one row, by int32."""
    return n.g.op(
        Op.GATHER, [n.operand(0), n.operand(2)], n.shape, n.dtype, plain_options("Gather")
    )


def floor(n: Node) -> int:
    return n.g.op(Op.FLOOR, [n.operand(0)], n.shape, F32)


def shift_right(n: Node) -> int:
    """``v // 2^s`` of non-negative int32: an integer division by a power looked up."""
    g, v, shift = n.g, n.operand(0), n.args[1]
    if isinstance(shift, Ref):
        table = g.const([1 << k for k in range(31)])
        power = g.op(Op.GATHER, [table, shift.tensor], (), I32, plain_options("Gather"))
    else:
        power = g.const(1 << int(shift))
    return reshape(g, binary(g, Op.DIV, v, power), n.shape)


def matmul(n: Node) -> int:
    return _product(n.g, n.operand(0), n.operand(1))


def _product(g: Graph, a: int, b: int) -> int:
    """float32 products of integers, exact because no partial sum reaches 2^24."""
    rows, depth = g.shapes[a]
    cols = g.shapes[b][1]
    total: int | None = None
    for start in range(0, depth, EXACT_DEPTH):
        stop = min(start + EXACT_DEPTH, depth)
        left, right = a, b
        if depth > EXACT_DEPTH:
            left = _part(g, a, 1, start, stop, 1, (rows, stop - start))
            right = _part(g, b, 0, start, stop, 1, (stop - start, cols))
        both = [cast(g, left, F32), cast(g, right, F32)]
        product = g.op(Op.BATCH_MATMUL, both, (rows, cols), F32, plain_options("BatchMatMul"))
        part = cast(g, product, I32)
        total = part if total is None else binary(g, Op.ADD, total, part)
    assert total is not None
    return total


def correlate(n: Node) -> int:
    """``a^T b`` as ``(b^T a)^T``, whose transposed operands are the small ones."""
    g, a, b = n.g, n.operand(0), n.operand(1)
    return transpose(g, _product(g, transpose(g, b, (1, 0)), a), (1, 0))


def same(n: Node) -> int:
    return n.operand(0)


aten, own = torch.ops.aten, torch.ops.dfedge

TABLE: dict[Any, Lowering] = {
    aten.add.Tensor: arithmetic(Op.ADD),
    aten.sub.Tensor: arithmetic(Op.SUB),
    aten.mul.Tensor: arithmetic(Op.MUL),
    aten.add.Scalar: arithmetic(Op.ADD),
    aten.sub.Scalar: arithmetic(Op.SUB),
    aten.mul.Scalar: arithmetic(Op.MUL),
    aten.rsub.Scalar: reversed_sub,
    aten.maximum.default: extreme(Op.MAXIMUM),
    aten.minimum.default: extreme(Op.MINIMUM),
    aten.clamp.default: clamp,
    aten.sign.default: sign,
    aten.abs.default: magnitude,
    aten.bitwise_and.Scalar: low_bits,
    aten.eq.Tensor: comparison(Op.EQUAL),
    aten.gt.Tensor: comparison(Op.GREATER),
    aten.le.Tensor: comparison(Op.LESS_EQUAL),
    aten.gt.Scalar: comparison(Op.GREATER),
    aten.ge.Scalar: comparison(Op.GREATER_EQUAL),
    aten.lt.Scalar: comparison(Op.LESS),
    aten._to_copy.default: lambda n: cast(n.g, n.operand(0), n.dtype),
    aten.view.default: lambda n: reshape(n.g, n.operand(0), n.shape),
    aten.squeeze.dims: lambda n: reshape(n.g, n.operand(0), n.shape),
    aten.unsqueeze.default: lambda n: reshape(n.g, n.operand(0), n.shape),
    aten.expand.default: lambda n: broadcast(n.g, n.operand(0), n.shape),
    aten.permute.default: permute,
    aten.slice.Tensor: take,
    aten.select.int: select,
    aten.index_select.default: gather,
    aten.cat.default: cat,
    aten.constant_pad_nd.default: pad,
    aten.sum.dim_IntList: reduction(Op.SUM),
    aten.amax.default: reduction(Op.REDUCE_MAX),
    aten.amin.default: reduction(Op.REDUCE_MIN),
    aten.floor.default: floor,
    aten.alias.default: same,
    aten.clone.default: same,
    aten.lift_fresh_copy.default: same,
    own.shift_right.default: shift_right,
    own.matmul_i32.default: matmul,
    own.matmul_signed.default: matmul,
    own.correlate.default: correlate,
}
