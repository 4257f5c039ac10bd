"""A .tflite net -> an ONNX model of the same function in float, which `read_onnx` translates.

Integers of a quantised file become the real numbers that they stand for.  What its activations lose
by their own 8 bits is left out: an adopted net is quantised anew.  Maps [B, H, W, C] are held as
[B, C, H, W]; an operator that counts axes otherwise says so in `dfedge.adoption.tflite_operators`.
"""

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from dfedge.adoption.tflite_file import TfliteGraph, TfliteOperator, read_file
from dfedge.adoption.tflite_operators import OPERATORS
from dfedge.adoption.tflite_writer import DOMAIN, TO_BACK, Writer
from dfedge.errors import DfedgeError, foreign

OPSET = 20
PIXEL = 255
SIGNED = {"INT8": 128, "UINT8": 0}
"""What is added to a code to make a byte of it."""


def load_tflite(path: Path) -> tuple[onnx.ModelProto, tuple[float, float]]:
    """Read a file .tflite, float or quantised.

    A quantised input takes the bytes 0..255 of a picture as its codes; a float one takes what the
    net was trained on, for pictures 0..1 where ``--mean`` and ``--std`` say nothing else.

    Returns:
        The model, and factor and lift from bytes as 0..1 to what they stand for.

    Raises:
        DfedgeError: not such a file, an input other than one tensor of a fixed size, or an operator
            whose operands cannot be read.
    """
    net = read_file(path)
    writer = Writer(net)
    line = _line(net, path)
    image = _image(writer, line)
    for writer.op in _needed(net):
        translate = OPERATORS.get(writer.op.kind, Writer.unknown)
        with foreign(f"{path}: operator {writer.op.number}", f"a {writer.op.kind}", "convert anew"):
            translate(writer)
    missing = [net.tensors[i].name for i in net.outputs if i not in writer.values]
    if missing:
        raise DfedgeError(f"{path}: the result '{missing[0]}' is computed by no operator")
    results = [onnx.ValueInfoProto(name=writer.values[i]) for i in net.outputs]
    graph = helper.make_graph(writer.nodes, "tflite", [image], results, writer.weights,
                              value_info=writer.shapes)  # fmt: skip
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets), line


def _needed(net: TfliteGraph) -> list[TfliteOperator]:
    """Operators that a result depends on: what only computes a shape is left out.

    The shape that a reshape makes stands in the file.
    """
    wanted, found = set(net.outputs), []
    for op in reversed(net.operators):
        if wanted & set(op.outputs):
            found.append(op)
            wanted |= set(op.inputs[:1] if op.kind == "RESHAPE" else op.inputs)
    return found[::-1]


def _image(writer: Writer, line: tuple[float, float]) -> onnx.ValueInfoProto:
    """The input, an image [B, C, H, W], and what brings it into the file's own form."""
    net = writer.net
    given = net.tensors[net.inputs[0]]
    side = _sides(given.shape[1:])
    writer.op = TfliteOperator(0, "input", (), (net.inputs[0],), {})
    name, sides = "image", (side[2], side[0], side[1])
    made, (factor, lift) = name, line
    if not math.isclose(factor, 1, rel_tol=1e-5):
        made = writer.emit("Mul", [made, writer.constant(np.float32(factor))])
    if lift:
        made = writer.emit("Add", [made, writer.constant(np.float32(lift))])
    if len(given.shape) < 4:
        made = writer.emit("Transpose", [made], perm=TO_BACK)
        made = writer.reshaped(made)
    writer.values[net.inputs[0]] = made
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *sides])


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[H, W, C]: [T, C] is the map [T, 1, C], or a grey picture where both are equal."""
    if len(shape) == 2:
        return (*shape, 1) if shape[0] == shape[1] else (shape[0], 1, shape[1])
    return shape if len(shape) == 3 else (1, 1, *shape)


def _line(net: TfliteGraph, path: Path) -> tuple[float, float]:
    """From pixels 0..1 to the real numbers that their bytes, as the file's codes, stand for."""
    if len(net.inputs) != 1:
        raise DfedgeError(f"{path}: the net takes {len(net.inputs)} tensors; allowed: one")
    given = net.tensors[net.inputs[0]]
    shape = given.shape
    if not 2 <= len(shape) <= 4 or shape[0] != 1 or min(shape) < 1:
        raise DfedgeError(
            f"{path}: the net takes '{given.name}' {list(shape)}; allowed: one sample, "
            "[1, H, W, C], [1, T, C] or [1, C]; convert it for one image size and a batch of 1"
        )
    if given.dtype == "FLOAT32":
        return 1.0, 0.0
    if given.dtype not in SIGNED or given.quantised is None:
        raise DfedgeError(
            f"{path}: the net takes '{given.name}' as {given.dtype}; allowed: FLOAT32, INT8, UINT8"
        )
    scale, zero = float(given.quantised.scale[0]), int(given.quantised.zero[0])
    return scale * PIXEL, -scale * (zero + SIGNED[given.dtype])
