"""Operators of TensorFlow Lite put into a graph: what lowerings are written in."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator as Op

from dfedge.exporters.graph import F32, I32, StockGraph
from dfedge.exporters.litert.options import concat_options, plain_options, reshape_options
from dfedge.int8.bounds import EXACT_DEPTH

KERNEL_AXES = 4
"""Up to how many axes binary kernels broadcast and pad."""
OPTIONS = {
    Op.ADD: "Add", Op.SUB: "Sub", Op.MUL: "Mul", Op.DIV: "Div", Op.FLOOR_MOD: "FloorMod",
    Op.MAXIMUM: "MaximumMinimum", Op.MINIMUM: "MaximumMinimum", Op.EQUAL: "Equal",
    Op.GREATER: "Greater", Op.GREATER_EQUAL: "GreaterEqual", Op.LESS: "Less",
    Op.LESS_EQUAL: "LessEqual",
}  # fmt: skip
COMPARISONS = {Op.EQUAL, Op.GREATER, Op.GREATER_EQUAL, Op.LESS, Op.LESS_EQUAL}


def cast(g: StockGraph, x: int, dtype: Any) -> int:
    """Another type."""
    if g.types[x] == np.dtype(dtype):
        return x
    return g.op(Op.CAST, [x], g.shapes[x], dtype, plain_options("Cast"))


def reshape(g: StockGraph, x: int, shape: Sequence[int]) -> int:
    """Another shape of the same elements."""
    if g.shapes[x] == tuple(shape):
        return x
    return g.op(Op.RESHAPE, [x, g.const(list(shape))], shape, g.types[x], reshape_options(shape))


def broadcast(g: StockGraph, x: int, shape: Sequence[int]) -> int:
    """Repeat along axes of length one, by joining copies: BROADCAST_TO copies value by value."""
    missing = len(shape) - len(g.shapes[x])
    x = reshape(g, x, (1,) * missing + g.shapes[x])
    for axis in reversed(range(len(shape))):
        if g.shapes[x][axis] != shape[axis]:
            x = join(g, [x] * shape[axis], axis)
    return x


def binary(g: StockGraph, op: int, a: int, b: int) -> int:
    """An element-wise operator of two operands of one type."""
    shape = np.broadcast_shapes(g.shapes[a], g.shapes[b])
    if len(shape) > KERNEL_AXES and g.shapes[a] != g.shapes[b]:
        if () in (g.shapes[a], g.shapes[b]):  # a scalar: one long axis instead of many
            flat = [reshape(g, t, (math.prod(g.shapes[t]),)) if g.shapes[t] else t for t in (a, b)]
            return reshape(g, binary(g, op, *flat), shape)
        a, b = broadcast(g, a, shape), broadcast(g, b, shape)
    dtype = np.bool_ if op in COMPARISONS else g.types[a]
    return g.op(op, [a, b], shape, dtype, plain_options(OPTIONS[op]))


def join(g: StockGraph, parts: list[int], axis: int) -> int:
    """Tensors side by side."""
    if len(parts) == 1:
        return parts[0]
    shape = list(g.shapes[parts[0]])
    shape[axis] = sum(g.shapes[part][axis] for part in parts)
    return g.op(Op.CONCATENATION, parts, shape, g.types[parts[0]], concat_options(axis))


def part(
    g: StockGraph, x: int, axis: int, start: int, stop: int, step: int, shape: Sequence[int]
) -> int:
    """A part along one axis; SLICE moves whole rows where STRIDED_SLICE moves values."""
    begin, end, strides = [0] * len(g.shapes[x]), list(g.shapes[x]), [1] * len(g.shapes[x])
    begin[axis], end[axis], strides[axis] = start, stop, step
    if step == 1:
        ends = [g.const(value) for value in (begin, list(shape))]
        return g.op(Op.SLICE, [x, *ends], shape, g.types[x], plain_options("Slice"))
    ends = [g.const(value) for value in (begin, end, strides)]
    return g.op(Op.STRIDED_SLICE, [x, *ends], shape, g.types[x], plain_options("StridedSlice"))


def transpose(g: StockGraph, x: int, order: Sequence[int]) -> int:
    """Axes in another order."""
    shape = [g.shapes[x][axis] for axis in order]
    inputs = [x, g.const(list(order))]
    return g.op(Op.TRANSPOSE, inputs, shape, g.types[x], plain_options("Transpose"))


def product_of(g: StockGraph, a: int, b: int) -> int:
    """float32 products of integers, exact because no partial sum reaches 2^24.

    Args:
        a, b: [M, K] and [K, N], or [G, M, K] and [G, K, N].
    """
    *before, depth = g.shapes[a]
    *behind, _, cols = g.shapes[b]
    total: int | None = None
    for start in range(0, depth, EXACT_DEPTH):
        stop = min(start + EXACT_DEPTH, depth)
        left, right = a, b
        if depth > EXACT_DEPTH:
            left = part(g, a, len(before), start, stop, 1, (*before, stop - start))
            right = part(g, b, len(behind), start, stop, 1, (*behind, stop - start, cols))
        both = [cast(g, left, F32), cast(g, right, F32)]
        made = (*before, cols)
        product = g.op(Op.BATCH_MATMUL, both, made, F32, plain_options("BatchMatMul"))
        piece = cast(g, product, I32)
        total = piece if total is None else binary(g, Op.ADD, total, piece)
    assert total is not None
    return total
