"""Operators of ONNX put into a graph: what lowerings are written in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper

from dfedge.exporters.graph import StockGraph

U8, U32, I64 = np.uint8, np.uint32, np.int64


def numbers(g: StockGraph, values: Sequence[int]) -> int:
    """Places, sizes and axes, int64."""
    return g.const(list(values), I64)


def cast(g: StockGraph, x: int, dtype: Any) -> int:
    """Another type; a constant is one of that type."""
    if g.types[x] == np.dtype(dtype):
        return x
    if x in g.constants:
        return g.const(g.constants[x].astype(dtype), dtype)
    to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return g.op("Cast", [x], g.shapes[x], dtype, {"to": to})


def reshape(g: StockGraph, x: int, shape: Sequence[int]) -> int:
    """Another shape of the same elements."""
    if g.shapes[x] == tuple(shape):
        return x
    return g.op("Reshape", [x, numbers(g, shape)], shape, g.types[x])


def binary(g: StockGraph, kind: str, a: int, b: int, dtype: Any = None) -> int:
    """An element-wise operator of two operands of one type; they are broadcast."""
    shape = np.broadcast_shapes(g.shapes[a], g.shapes[b])
    return g.op(kind, [a, b], shape, dtype or g.types[a])


def transpose(g: StockGraph, x: int, order: Sequence[int]) -> int:
    """Axes in another order."""
    shape = [g.shapes[x][axis] for axis in order]
    return g.op("Transpose", [x], shape, g.types[x], {"perm": list(order)})


def product_of(g: StockGraph, a: int, b: int) -> int:
    """A product of integer matrices, int32.

    Args:
        a: values 0..127 or uint8: runtimes multiply uint8 x int8 several times faster than int8 x
            int8, and not beyond 127 without VNNI, where pairs of products saturate.
        b: int8.
    """
    shape = (*g.shapes[a][:-1], g.shapes[b][-1])
    return g.op("MatMulInteger", [cast(g, a, U8), b], shape, np.int32)
