"""LiteRT's operators in ONNX's, one function each.  Maps have their channels in front."""

from collections.abc import Callable
from functools import partial

import numpy as np

from dfedge.adoption.tflite_writer import TO_BACK, TO_FRONT, Writer

PADDINGS = ("SAME_UPPER", "VALID")
"""By their numbers."""


def _strides(w: Writer, *names: str) -> list[int]:
    return [int(w.option(name, 1)) for name in names]


def _bias(w: Writer) -> list[str]:
    """Integers whose scale the file leaves out are of the product's."""
    if not w.has(2):
        return []
    given, weight = w.tensor(0).quantised, w.tensor(1).quantised
    bias = w.real(2)
    if bias.dtype == np.int64 and given is not None and weight is not None:
        bias = bias * (given.scale * weight.scale)
    return [w.constant(bias.astype(np.float32))]


def _conv(w: Writer, depthwise: bool) -> None:
    """Weights [O, H, W, I], or [1, H, W, C x multiplier]."""
    weight, channels = w.real(1), w.tensor(0).shape[-1]
    weight = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
    group = channels if depthwise else channels // weight.shape[1]
    inputs = [w.read(0), w.constant(weight.astype(np.float32))]
    inputs += _bias(w)
    w.give(
        w.emit("Conv", inputs, group=group, auto_pad=PADDINGS[w.option("padding")],
               strides=_strides(w, "strideH", "strideW"),
               dilations=_strides(w, "dilationHFactor", "dilationWFactor"))
    )  # fmt: skip


def _pool(w: Writer, kind: str) -> None:
    kernel = _strides(w, "filterHeight", "filterWidth")
    w.give(w.emit(kind, [w.read(0)], kernel_shape=kernel, auto_pad=PADDINGS[w.option("padding")],
                  strides=_strides(w, "strideH", "strideW")))  # fmt: skip


def _fully_connected(w: Writer) -> None:
    """Weights [O, I]; what goes in is flattened, a sample at a time."""
    weight, shape = w.real(1), w.tensor(0).shape
    if w.option("weightsFormat") or int(np.prod(shape[1:])) != weight.shape[1]:
        raise w.refused(f"of {list(shape)}: allowed: all values of a sample at once")
    size = w.constant(np.array([0, weight.shape[1]], np.int64))
    given = w.emit("Reshape", [w.in_order(0), size])
    inputs = [given, w.constant(weight.astype(np.float32))]
    inputs += _bias(w)
    made = w.emit("Gemm", inputs, transB=1)
    w.give(made if len(w.made.shape) == 2 else w.reshaped(made), ordered=True)


def _two(w: Writer, kind: str) -> None:
    w.give(w.emit(kind, [w.read(0), w.read(1)]))


def _one(w: Writer, kind: str) -> None:
    w.give(w.emit(kind, [w.read(0)]))


def _same(w: Writer) -> None:
    """Between two scales, or a number of 16 bits and one of 32: the same real number."""
    if w.op.inputs[0] in w.values:
        w.give(w.read(0))
    else:
        w.folded[w.op.outputs[0]] = w.real(0).astype(np.float32)


def _squared(w: Writer) -> None:
    w.give(w.emit("Mul", [w.read(0), w.read(0)]))


def _inverse_root(w: Writer) -> None:
    root = w.emit("Sqrt", [w.read(0)])
    w.give(w.emit("Reciprocal", [root]))


def _between(w: Writer, low: float, high: float) -> None:
    bounds = [w.constant(np.float32(bound)) for bound in (low, high)]
    w.give(w.emit("Clip", [w.read(0), *bounds]))


def _leaky(w: Writer) -> None:
    w.give(w.emit("LeakyRelu", [w.read(0)], alpha=float(w.option("alpha", 0.2))))


def _gelu(w: Writer) -> None:
    near = b"tanh" if w.option("approximate") else b"none"
    w.give(w.emit("Gelu", [w.read(0)], approximate=near))


def _softmax(w: Writer, kind: str) -> None:
    last = 1 if len(w.tensor(0).shape) == 4 else -1
    w.give(w.emit(kind, [w.read(0)], axis=last))


def _axis(w: Writer, axis: int) -> int:
    """Of a map with its channels in front, the file's axis."""
    rank = len(w.made.shape)
    return TO_FRONT.index(axis % 4) if rank == 4 else axis % rank


def _concat(w: Writer) -> None:
    names = [w.read(place) for place in range(len(w.op.inputs))]
    w.give(w.emit("Concat", names, axis=_axis(w, int(w.option("axis")))))


def _reduce(w: Writer, kind: str) -> None:
    """Of a map over its height and width, else over any axes."""
    rank, axes = len(w.tensor(0).shape), w.numbers(1)
    front = [TO_FRONT.index(axis % 4) if rank == 4 else axis % rank for axis in axes]
    made = w.emit(kind, [w.read(0), w.constant(np.array(front, np.int64))], keepdims=1)
    if w.option("keepDims"):
        w.give(made)
    else:
        ordered = w.emit("Transpose", [made], perm=TO_BACK) if rank == 4 else made
        w.give(w.reshaped(ordered), ordered=True)


def _reshape(w: Writer) -> None:
    """Every operator whose result has the same values in the same order."""
    w.give(w.reshaped(w.in_order(0)), ordered=True)


def _transpose(w: Writer) -> None:
    w.give(w.emit("Transpose", [w.in_order(0)], perm=w.numbers(1)), ordered=True)


def _pad(w: Writer) -> None:
    ends = np.array(w.numbers(1), np.int64).reshape(-1, 2)
    ends = ends[TO_FRONT] if len(ends) == 4 else ends
    value = [w.constant(w.real(2).astype(np.float32).reshape(()))] if w.has(2) else []
    w.give(w.emit("Pad", [w.read(0), w.constant(ends.T.reshape(-1)), *value]))


def _mirror_pad(w: Writer) -> None:
    if w.option("mode"):
        raise w.refused("with the outermost values twice; allowed: REFLECT")
    ends = np.array(w.numbers(1), np.int64).reshape(-1, 2)
    ends = ends[TO_FRONT] if len(ends) == 4 else ends
    w.give(w.emit("Pad", [w.read(0), w.constant(ends.T.reshape(-1))], mode="reflect"))


def _resize(w: Writer, mode: str) -> None:
    if w.option("alignCorners"):
        raise w.refused("with align_corners; allowed: without")
    half = bool(w.option("halfPixelCenters"))
    sizes = w.constant(np.array(w.numbers(1), np.int64))
    w.give(w.emit("Resize", [w.read(0), "", "", sizes], axes=[2, 3], mode=mode,
                  coordinate_transformation_mode="half_pixel" if half else "asymmetric",
                  nearest_mode="round_prefer_ceil" if half else "floor"))  # fmt: skip


def _slice(w: Writer) -> None:
    begin, size = w.numbers(1), w.numbers(2)
    end = [b + s if s >= 0 else np.iinfo(np.int64).max for b, s in zip(begin, size, strict=True)]
    _cut(w, begin, end, [1] * len(begin))


def _strided_slice(w: Writer) -> None:
    if w.option("ellipsisMask") or w.option("newAxisMask"):
        raise w.refused("with an ellipsis or a new axis")
    begin, end, steps = (w.numbers(place) for place in (1, 2, 3))
    for axis, step in enumerate(steps):
        if w.option("beginMask") >> axis & 1:
            begin[axis] = 0 if step > 0 else np.iinfo(np.int64).max
        if w.option("endMask") >> axis & 1:
            end[axis] = np.iinfo(np.int64).max if step > 0 else np.iinfo(np.int64).min
        if w.option("shrinkAxisMask") >> axis & 1:
            end[axis] = begin[axis] + 1 if begin[axis] != -1 else np.iinfo(np.int64).max
    _cut(w, begin, end, steps)


def _cut(w: Writer, begin: list[int], end: list[int], steps: list[int]) -> None:
    if begin[0] == 0 and end[0] == steps[0] == 1:
        end = [np.iinfo(np.int64).max, *end[1:]]  # the file's one sample stands for all
    axes = list(range(len(begin)))
    rest = [w.constant(np.array(one, np.int64)) for one in (begin, end, axes, steps)]
    made = w.emit("Slice", [w.in_order(0), *rest])
    w.give(w.reshaped(made) if len(w.made.shape) != len(axes) else made, ordered=True)


def _split(w: Writer, value: int, along: int) -> None:
    """Parts, each as large as the file says of it."""
    axis, start = w.numbers(along)[0] % len(w.tensor(value).shape), 0
    for output, index in enumerate(w.op.outputs):
        end = start + w.net.tensors[index].shape[axis]
        rest = [w.constant(np.array([one], np.int64)) for one in (start, end, axis)]
        w.give(w.emit("Slice", [w.in_order(value), *rest]), ordered=True, output=output)
        start = end


def _length(w: Writer) -> None:
    axis = 1 if len(w.tensor(0).shape) == 4 else -1
    w.give(w.emit("LpNormalization", [w.read(0)], axis=axis, p=2))


OPERATORS: dict[str, Callable[[Writer], None]] = {
    "CONV_2D": partial(_conv, depthwise=False),
    "DEPTHWISE_CONV_2D": partial(_conv, depthwise=True),
    "FULLY_CONNECTED": _fully_connected,
    "AVERAGE_POOL_2D": partial(_pool, kind="AveragePool"),
    "MAX_POOL_2D": partial(_pool, kind="MaxPool"),
    "ADD": partial(_two, kind="Add"),
    "SUB": partial(_two, kind="Sub"),
    "MUL": partial(_two, kind="Mul"),
    "DIV": partial(_two, kind="Div"),
    "MAXIMUM": partial(_two, kind="Max"),
    "MINIMUM": partial(_two, kind="Min"),
    "POW": partial(_two, kind="Pow"),
    "PRELU": partial(_two, kind="PRelu"),
    "RELU": partial(_one, kind="Relu"),
    "LOGISTIC": partial(_one, kind="Sigmoid"),
    "TANH": partial(_one, kind="Tanh"),
    "ELU": partial(_one, kind="Elu"),
    "HARD_SWISH": partial(_one, kind="HardSwish"),
    "EXP": partial(_one, kind="Exp"),
    "LOG": partial(_one, kind="Log"),
    "SQRT": partial(_one, kind="Sqrt"),
    "ABS": partial(_one, kind="Abs"),
    "NEG": partial(_one, kind="Neg"),
    "RSQRT": _inverse_root,
    "SQUARE": _squared,
    "GELU": _gelu,
    "LEAKY_RELU": _leaky,
    "RELU6": partial(_between, low=0, high=6),
    "RELU_N1_TO_1": partial(_between, low=-1, high=1),
    "RELU_0_TO_1": partial(_between, low=0, high=1),
    "SOFTMAX": partial(_softmax, kind="Softmax"),
    "LOG_SOFTMAX": partial(_softmax, kind="LogSoftmax"),
    "L2_NORMALIZATION": _length,
    "MEAN": partial(_reduce, kind="ReduceMean"),
    "SUM": partial(_reduce, kind="ReduceSum"),
    "REDUCE_MAX": partial(_reduce, kind="ReduceMax"),
    "CONCATENATION": _concat,
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "TRANSPOSE": _transpose,
    "PAD": _pad,
    "PADV2": _pad,
    "MIRROR_PAD": _mirror_pad,
    "RESIZE_BILINEAR": partial(_resize, mode="linear"),
    "RESIZE_NEAREST_NEIGHBOR": partial(_resize, mode="nearest"),
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "SPLIT": partial(_split, value=1, along=0),
    "SPLIT_V": partial(_split, value=0, along=2),
    "QUANTIZE": _same,
    "DEQUANTIZE": _same,
}
"""Operator -> its translation; any other is refused by `read_onnx`, by its own name."""
