"""The table of lowerings: a node of the exported graph -> TensorFlow Lite's builtin operators.

Kernels know int32 and float32 well and int8 hardly (without quantisation parameters, which would
let them round), so int8 is only moved, padded, compared for the maximum and cast.  Broadcasting is
done by the kernels up to four axes and spelt out above.  Division and remainder meet non-negative
numbers only.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ai_edge_litert.schema_py_generated import BuiltinOperator as Op

from dfedge.exporters.graph import F32, I8, I32, StockGraph
from dfedge.exporters.litert.emit import (
    KERNEL_AXES,
    binary,
    broadcast,
    cast,
    join,
    part,
    product_of,
    reshape,
    transpose,
)
from dfedge.exporters.litert.options import (
    gather_options,
    plain_options,
    reduce_options,
)
from dfedge.exporters.lowered import LoweringNode, Ref
from dfedge.int8.stock import primitives  # noqa: F401  registers them


def wide(g: StockGraph, x: int) -> int:
    """int8 as int32: no arithmetic on int8."""
    return cast(g, x, I32) if g.types[x] == np.dtype(I8) else x


Lowering = Callable[[LoweringNode], int]


def arithmetic(op: int) -> Lowering:
    """An operator on int32 or float32; on int8 by way of int32."""

    def lower(n: LoweringNode) -> int:
        wanted = I32 if n.dtype == I8 else n.dtype
        a, b = (wide(n.g, n.operand(i, wanted)) for i in (0, 1))
        return cast(n.g, binary(n.g, op, a, b), n.dtype)

    return lower


def reversed_sub(n: LoweringNode) -> int:
    return binary(n.g, Op.SUB, n.operand(1), n.operand(0))


def comparison(op: int) -> Lowering:
    """A comparison of integers."""

    def lower(n: LoweringNode) -> int:
        a = wide(n.g, n.operand(0))
        return binary(n.g, op, a, wide(n.g, n.operand(1, n.g.types[a])))

    return lower


def extreme(op: int) -> Lowering:
    """Element-wise maximum or minimum; exact on int8 as well."""
    return lambda n: binary(n.g, op, n.operand(0), n.operand(1))


def clamp(n: LoweringNode) -> int:
    x = n.operand(0)
    for i, op in ((1, Op.MAXIMUM), (2, Op.MINIMUM)):
        if n.get(i, None) is not None:
            x = binary(n.g, op, x, n.operand(i))
    return x


def sign(n: LoweringNode) -> int:
    x = binary(n.g, Op.MAXIMUM, n.operand(0), n.g.const(-1))
    return binary(n.g, Op.MINIMUM, x, n.g.const(1))


def magnitude(n: LoweringNode) -> int:
    x = n.operand(0)
    return binary(n.g, Op.MAXIMUM, x, binary(n.g, Op.SUB, n.g.const(0), x))


def low_bits(n: LoweringNode) -> int:
    """``v & (2^k - 1)`` of non-negative v."""
    mask = n.args[1]
    assert mask & (mask + 1) == 0
    return binary(n.g, Op.FLOOR_MOD, n.operand(0), n.g.const(mask + 1))


def take(n: LoweringNode) -> int:
    x, (axis, start, stop, step) = n.operand(0), n.part()
    if (start, stop, step) == (0, n.g.shapes[x][axis], 1):
        return x
    return part(n.g, x, axis, start, stop, step, n.shape)


def select(n: LoweringNode) -> int:
    x, axis, index = n.operand(0), n.args[1], n.args[2]
    kept = [1 if a == axis else size for a, size in enumerate(n.g.shapes[x])]
    return reshape(n.g, part(n.g, x, axis, index, index + 1, 1, kept), n.shape)


def pad(n: LoweringNode) -> int:
    """With zeros; beyond four axes, or with another number, by joining it on."""
    g, x, pairs, fill = n.g, n.operand(0), n.sides(), n.get(2, 0)
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


def cat(n: LoweringNode) -> int:
    axis = n.get(1, 0) % len(n.shape)
    return join(n.g, [part.tensor for part in n.args[0]], axis)


def permute(n: LoweringNode) -> int:
    return transpose(n.g, n.operand(0), [axis % len(n.shape) for axis in n.args[1]])


def reduction(op: int) -> Lowering:
    """Over given axes, int32."""

    def lower(n: LoweringNode) -> int:
        axes, x = n.axes(1), wide(n.g, n.operand(0))
        inputs = [x, n.g.const(axes)]
        keep = len(n.shape) == len(n.g.shapes[x])
        return n.g.op(op, inputs, n.shape, n.g.types[x], reduce_options(keep))

    return lower


def gather(n: LoweringNode) -> int:
    """Along one axis, by int32."""
    return n.g.op(
        Op.GATHER, [n.operand(0), n.operand(2)], n.shape, n.dtype, gather_options(n.args[1])
    )


def floor(n: LoweringNode) -> int:
    return n.g.op(Op.FLOOR, [n.operand(0)], n.shape, F32)


def shift_right(n: LoweringNode) -> int:
    """``v // 2^s`` of non-negative int32: an integer division by a power looked up."""
    g, v, shift = n.g, n.operand(0), n.args[1]
    if isinstance(shift, Ref):
        table = g.const([1 << k for k in range(31)])
        power = g.op(Op.GATHER, [table, shift.tensor], (), I32, plain_options("Gather"))
    else:
        power = g.const(1 << int(shift))
    return reshape(g, binary(g, Op.DIV, v, power), n.shape)


def matmul(n: LoweringNode) -> int:
    return product_of(n.g, n.operand(0), n.operand(1))


def correlate(n: LoweringNode) -> int:
    """``a^T b`` as ``(b^T a)^T``, whose transposed operands are the small ones."""
    g, a, b = n.g, n.operand(0), n.operand(1)
    return transpose(g, product_of(g, transpose(g, b, (1, 0)), a), (1, 0))


def same(n: LoweringNode) -> int:
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
