"""Files .tflite changed at random: adopted, or refused with one line."""

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from dfedge.exporters.graph import StockGraph
from dfedge.exporters.litert.file import File, Quantisation, packed
from dfedge.exporters.litert.options import concat_options, plain_options, reshape_options
from trials.first_step import CLASSES, take_changed
from trials.trial import Trials

CHANNELS = 6
NUMBERS = (0, -1, 1, 2, 3, 127, 255, 1 << 15, (1 << 31) - 1)


@cache
def ordinary() -> bytes:
    """A convolution, a pool and a linear layer of images [1, 8, 8, 1]."""
    file, numbers = File(), np.random.default_rng(0)
    g, op = StockGraph(), schema.BuiltinOperator
    x = g.inputs["x"] = g.tensor((1, 8, 8, 1), np.float32)
    weights = g.const(numbers.standard_normal((CHANNELS, 3, 3, 1)) / 3, np.float32)
    bias = g.const(numbers.standard_normal(CHANNELS) / 9, np.float32)
    conv = plain_options("Conv2D")
    conv.fields.strideW = conv.fields.strideH = 1
    conv.fields.fusedActivationFunction = schema.ActivationFunctionType.RELU
    h = g.op(op.CONV_2D, [x, weights, bias], (1, 8, 8, CHANNELS), np.float32, conv)
    pool = plain_options("Pool2D")
    for side in ("strideW", "strideH", "filterWidth", "filterHeight"):
        setattr(pool.fields, side, 4)
    pool.fields.padding = schema.Padding.VALID
    p = g.op(op.AVERAGE_POOL_2D, [h], (1, 2, 2, CHANNELS), np.float32, pool)
    flat = (1, 4 * CHANNELS)
    f = g.op(op.RESHAPE, [p, g.const(flat)], flat, np.float32, reshape_options(flat))
    head = g.const(numbers.standard_normal((CLASSES, flat[1])) / 5, np.float32)
    none = g.const(np.zeros(CLASSES), np.float32)
    g.outputs["scores"] = g.op(op.FULLY_CONNECTED, [f, head, none], (1, CLASSES), np.float32,
                               plain_options("FullyConnected"))  # fmt: skip
    file.add("main", g)
    return file.to_bytes()


@cache
def moving() -> bytes:
    """Operators that only move values, of a quantised input [1, 8, 8, 1]."""
    file, numbers = File(), np.random.default_rng(1)
    g, op = StockGraph(), schema.BuiltinOperator
    x = g.inputs["x"] = g.tensor((1, 8, 8, 1), np.int8)
    real = g.op(op.DEQUANTIZE, [x], (1, 8, 8, 1), np.float32)
    large = g.op(op.RESIZE_NEAREST_NEIGHBOR, [real, g.const((16, 16))], (1, 16, 16, 1), np.float32,
                 plain_options("ResizeNearestNeighbor"))  # fmt: skip
    ends = g.const(np.array([[0, 0], [1, 1], [2, 0], [0, 0]], np.int32))
    wide = g.op(op.MIRROR_PAD, [large, ends], (1, 18, 18, 1), np.float32,
                plain_options("MirrorPad"))  # fmt: skip
    ends = g.const(np.array([[0, 0], [1, 0], [0, 1], [0, 0]], np.int32))
    wide = g.op(op.PAD, [wide, ends], (1, 19, 19, 1), np.float32, plain_options("Pad"))
    cut = [g.const(one) for one in ((0, 1, 1, 0), (1, 17, 17, 1), (1, 2, 2, 1))]
    half = g.op(op.STRIDED_SLICE, [wide, *cut], (1, 8, 8, 1), np.float32,
                plain_options("StridedSlice"))  # fmt: skip
    both = g.op(op.CONCATENATION, [real, half], (1, 8, 8, 2), np.float32, concat_options(3))
    other = g.op(op.TRANSPOSE, [both, g.const((0, 2, 1, 3))], (1, 8, 8, 2), np.float32,
                 plain_options("Transpose"))  # fmt: skip
    flat = g.op(op.RESHAPE, [other, g.const((1, 128))], (1, 128), np.float32,
                reshape_options((1, 128)))  # fmt: skip
    head = g.const(numbers.standard_normal((CLASSES, 128)) / 9, np.float32)
    none = g.const(np.zeros(CLASSES), np.float32)
    g.outputs["scores"] = g.op(op.FULLY_CONNECTED, [flat, head, none], (1, CLASSES), np.float32,
                               plain_options("FullyConnected"))  # fmt: skip
    file.add("main", g, {x: Quantisation((1 / 255,), -128)})
    return file.to_bytes()


def mutate_tflite(folder: Path, trials: int, seed: int, every: int = 1) -> Trials:
    """Change, adopt, learn: `trials.first_step.take_changed`."""
    draw = random.Random(seed)
    return take_changed(folder, "net.tflite", ordinary(), lambda: _changed(draw), trials, every)


def _changed(draw: random.Random) -> bytes:
    """A field of another value in a file that is whole, or bits of a file."""
    whole = draw.choice((ordinary, moving))()
    if draw.random() < 0.3:
        raw = bytearray(whole)
        for _ in range(draw.choice((1, 2, 8))):
            raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
        return bytes(raw)
    while True:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(whole, 0))
        for _ in range(draw.choice((1, 1, 2, 4))):
            holder, name, value = draw.choice(list(_fields(model)))
            _set(holder, name, _other(value, draw))
        try:
            return packed(model)
        except Exception:  # of what its fields hold no file can be made
            continue


def _fields(given: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Every number, list and table: its holder, its name or place, and itself."""
    places = enumerate(given) if isinstance(given, list) else vars(given).items()
    for name, value in places:
        if value is None or isinstance(value, bytes):
            continue
        yield given, name, value
        if isinstance(value, list) or hasattr(value, "__dict__"):
            yield from _fields(value)


def _set(holder: Any, name: Any, value: Any) -> None:
    if isinstance(holder, list):
        holder[name] = value
    else:
        setattr(holder, name, value)


def _other(value: Any, draw: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return draw.choice((*NUMBERS, value + 1, value - 1))
    if isinstance(value, np.ndarray) and value.size:
        changed = value.copy()
        changed[draw.randrange(len(changed))] = draw.choice((0, 1, 2, 127))
        return draw.choice((changed, changed[:-1], np.concatenate([changed, changed])))
    if isinstance(value, list) and value:
        place = draw.randrange(len(value))
        return draw.choice((value[:place] + value[place + 1 :], [*value, value[place]], []))
    return draw.choice((None, value))
