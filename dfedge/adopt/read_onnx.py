"""An ONNX graph -> `Graph`: the operations of `dfedge.adopt.read`, or a refusal.

What is computed from constants and static shapes alone is evaluated by onnx's own reference.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import inliner, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from dfedge.adopt.graph import Graph, Op
from dfedge.adopt.refusal import Site, line_of
from dfedge.adopt.translation import Arithmetic, Pads, Translation, Two
from dfedge.errors import DfedgeError, foreign

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE,
          onnx.TensorProto.BFLOAT16)  # fmt: skip
CONTROL = ("If", "Loop", "Scan")
OPEN_BATCH = 2
"""Stands for a batch of any size: with 1, what mixes samples could pass for what does not."""


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read a file and what lies beside it, and let onnx check it.

    Raises:
        DfedgeError: not ONNX, not sound, or its external data are missing.
    """
    remedy = "export it anew, and keep its .data file beside it where it has one"
    with foreign(path, "an ONNX file", remedy):
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        return inliner.inline_local_functions(model)


def read_onnx(model: onnx.ModelProto, classes: int) -> Graph:
    """Translate.

    Raises:
        DfedgeError: an operation that is not known (with what would replace it), a shape that is
            dynamic beyond the batch, weights that are not finite, more than one input or output,
            or another number of scores than ``classes``.
    """
    return _Reader(model).read(classes)


class _Reader(Translation[str]):
    """One translation; ``node`` is at work."""

    node: onnx.NodeProto

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.model = model.graph
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.batch = OPEN_BATCH

    def read(self, classes: int) -> Graph:
        """See `read_onnx`."""
        for weight in self.model.initializer:
            self._keep(weight.name, numpy_helper.to_array(weight))
        given = [value for value in self.model.input if value.name not in self.constants]
        if len(given) != 1:
            names = ", ".join(f"'{value.name}'" for value in given) or "nothing"
            raise DfedgeError(f"the net takes {names}; allowed: one input, images [B, C, H, W]")
        self._image(given[0])
        for node in self.model.node:
            self.node = node
            self.begin(node.output[0], _site(node))
            self._translate()
        return self.graph([value.name for value in self.model.output], classes)

    def _image(self, given: onnx.ValueInfoProto) -> None:
        kind = given.type.tensor_type
        if kind.elem_type not in FLOATS:
            name = onnx.TensorProto.DataType.Name(kind.elem_type)
            raise DfedgeError(
                f"the net takes '{given.name}' as {name}; allowed: images float [B, C, H, W], 0..1"
            )
        dims = [
            side.dim_value if side.HasField("dim_value") else side.dim_param or "?"
            for side in kind.shape.dim
        ]
        self.input(given.name, dims)
        if isinstance(dims[0], int) and dims[0] > 0:
            self.batch = dims[0]

    def _keep(self, name: str, value: Any) -> None:
        array = np.asarray(value)
        if array.dtype.kind in "biu" or array.dtype in (np.float16, np.float32, np.float64):
            self.keep(name, name, torch.from_numpy(array.copy()))
        elif array.dtype.name == "bfloat16":
            self.keep(name, name, torch.from_numpy(array.astype(np.float32)))

    def _translate(self) -> None:
        node = self.node
        inputs = [name for name in node.input if name]
        known = self.values.keys() | self.constants
        if node.op_type in CONTROL:
            raise self.refusal(f"{node.op_type} (control flow)")
        for name in inputs:
            if name not in known:
                raise self.refusal(f"{self.site.what} of '{name}'", "dense tensors, first results")
        if node.op_type == "Shape" and inputs[0] in self.values:
            self._keep(self.key, self._evaluate(inputs[:1]))
        elif node.op_type == "Constant" or (inputs and not self.values.keys() & set(inputs)):
            self._keep(self.key, self._evaluate([]))
        else:
            made = READERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            if made is None:
                raise self.refusal()
            made(self)

    def _evaluate(self, computed: list[str]) -> Any:
        """The operation's result; of what is computed from the image only the shape is true."""
        given = {name: self.constants[name].numpy() for name in self.node.input
                 if name in self.constants}  # fmt: skip
        for name in computed:
            given[name] = np.zeros((self.batch, *self.value(name).dims), np.float32)
        with foreign(f"operation '{self.site.what}' at node '{self.site.node}'", "one of onnx"):
            return ReferenceEvaluator(self.node, opsets=self.opsets).run(None, given)[0]

    # -- operands -----------------------------------------------------------------------------

    def operand(self, place: int) -> str:
        """Name of an input; empty: not given."""
        return self.node.input[place] if place < len(self.node.input) else ""

    def optional(self, place: int) -> Tensor | None:
        """A constant input, where it is given."""
        return self.weights(self.operand(place)) if self.operand(place) else None

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the node."""
        found = (one for one in self.node.attribute if one.name == name)
        return next((onnx.helper.get_attribute_value(one) for one in found), default)

    def setting(self, name: str, place: int, default: Any) -> Any:
        """What is an attribute in old opsets and a constant input in new ones."""
        return self.attribute(name, default) if not self.operand(place) else self.optional(place)

    def window(self, kernel: Two) -> tuple[Two, Pads, Two]:
        """Stride, pads above, below, left and right, and dilation."""
        strides = self.attribute("strides", [1, 1])
        dilations = self.attribute("dilations", [1, 1])
        top, left, bottom, right = self.attribute("pads", [0, 0, 0, 0])
        pads: Pads = (top, bottom, left, right)
        auto = self.attribute("auto_pad", b"NOTSET").decode()
        if auto == "VALID":
            pads = (0, 0, 0, 0)
        elif auto != "NOTSET":
            sides = self.map(self.operand(0))[1:]
            (top, bottom), (left, right) = (
                _same(side, k, step, auto == "SAME_UPPER")
                for side, k, step in zip(sides, kernel, strides, strict=True)
            )
            pads = (top, bottom, left, right)
        if min(pads) < 0:
            raise self.refusal(f"{self.site.what} with negative pads", "pads from 0 up")
        return (strides[0], strides[1]), pads, (dilations[0], dilations[1])

    # -- operations ---------------------------------------------------------------------------

    def convolution(self) -> None:
        """Conv."""
        weight = self.weights(self.operand(1))
        if weight.dim() != 4:
            raise self.refusal("convolution other than 2-d")
        window = self.window((weight.shape[2], weight.shape[3]))
        self.conv(self.operand(0), weight, self.optional(2), *window, self.attribute("group", 1))

    def gemm(self) -> None:
        """Gemm with a constant on the right."""
        weight, bias = self.weights(self.operand(1)), self.optional(2)
        weight = weight if self.attribute("transB", 0) else weight.T
        if self.attribute("transA", 0):
            raise self.refusal("Gemm with transA", "transA = 0")
        if bias is not None:
            if bias.numel() not in (1, len(weight)) or bias.shape[:-1].numel() != 1:
                raise self.refusal(f"Gemm with C {list(bias.shape)}", "one number a score")
            bias = bias.flatten().expand(len(weight)) * self.attribute("beta", 1.0)
        self.linear(self.operand(0), weight * self.attribute("alpha", 1.0), bias)

    def matmul(self) -> None:
        """MatMul with a constant on the right."""
        self.linear(self.operand(0), self.weights(self.operand(1)).T, None)

    def batch_norm(self) -> None:
        """BatchNormalization in evaluation."""
        if self.attribute("training_mode", 0):
            raise self.refusal("BatchNormalization in training", "net.eval() before the export")
        gamma, beta, mean, variance = (self.weights(self.operand(i)) for i in range(1, 5))
        epsilon = self.attribute("epsilon", 1e-5)
        self.norm(self.operand(0), gamma, beta, mean, variance, epsilon)

    def relu(self) -> None:
        """Relu."""
        self.clip(self.operand(0), 1, 0, 0, math.inf)

    def bounded(self) -> None:
        """Clip, with bounds as attributes or inputs."""
        low, high = self.setting("min", 1, -math.inf), self.setting("max", 2, math.inf)
        self.clip(self.operand(0), 1, 0, float(low), float(high))

    def hard_sigmoid(self) -> None:
        """HardSigmoid."""
        slope, lift = self.attribute("alpha", 0.2), self.attribute("beta", 0.5)
        self.clip(self.operand(0), slope, lift, 0, 1)

    def hard_swish(self) -> None:
        """HardSwish."""
        self.swish(self.operand(0))

    def mean(self) -> None:
        """GlobalAveragePool, or ReduceMean over height and width."""
        given, keep = self.operand(0), True
        if self.node.op_type == "ReduceMean":
            rank = 1 + len(self.value(given).dims)
            axes = sorted(int(axis) % rank for axis in self.setting("axes", 1, range(rank)))
            if axes != [2, 3]:
                raise self.refusal(f"mean over axes {axes}", "mean over height and width")
            keep = bool(self.attribute("keepdims", 1))
        self.whole(given, keep)

    def cat(self) -> None:
        """Concat."""
        self.concat(list(self.node.input), self.attribute("axis"))

    def flatten(self) -> None:
        """Flatten, Reshape, Squeeze and Unsqueeze: onnx says what shape comes of it."""
        if self.operand(1):
            self.weights(self.operand(1))
        out = self._evaluate([self.operand(0)]).shape
        if out[:1] != (self.batch,):
            raise self.refusal(f"{self.site.what} across samples, to {list(out)}",
                               "only flatten is known")  # fmt: skip
        self.reshape(self.operand(0), out[1:])

    def nothing(self) -> None:
        """Identity, Dropout in evaluation, Cast between kinds of float."""
        if self.operand(2) and bool(self.weights(self.operand(2))):
            raise self.refusal("Dropout in training", "net.eval() before the export")
        if self.attribute("to", FLOATS[0]) not in FLOATS:
            name = onnx.TensorProto.DataType.Name(self.attribute("to"))
            raise self.refusal(f"Cast to {name}", "float")
        self.same(self.operand(0))


def _arithmetic(op: Arithmetic) -> Callable[[_Reader], None]:
    def read(reader: _Reader) -> None:
        a, b = reader.operand(0), reader.operand(1)
        if a in reader.values and b in reader.values:
            reader.combine(op, a, b)
            return
        given, other = (a, b) if a in reader.values else (b, a)
        reader.with_constant(op, given, reader.weights(other), given is b)

    return read


def _pool(op: Op) -> Callable[[_Reader], None]:
    def read(reader: _Reader) -> None:
        kernel = tuple(reader.attribute("kernel_shape"))
        if len(kernel) != 2:
            raise reader.refusal("a pool other than 2-d")
        stride, pads, dilation = reader.window(kernel)
        ceil = bool(reader.attribute("ceil_mode", 0))
        reader.pool(op, reader.operand(0), kernel, stride, pads, dilation, ceil)

    return read


READERS: dict[str, Callable[[_Reader], None]] = {
    "Conv": _Reader.convolution,
    "Gemm": _Reader.gemm,
    "MatMul": _Reader.matmul,
    "BatchNormalization": _Reader.batch_norm,
    "Relu": _Reader.relu,
    "Clip": _Reader.bounded,
    "HardSigmoid": _Reader.hard_sigmoid,
    "HardSwish": _Reader.hard_swish,
    "Add": _arithmetic("add"),
    "Sub": _arithmetic("sub"),
    "Mul": _arithmetic("mul"),
    "Div": _arithmetic("div"),
    "AveragePool": _pool("mean"),
    "MaxPool": _pool("max"),
    "GlobalAveragePool": _Reader.mean,
    "ReduceMean": _Reader.mean,
    "Concat": _Reader.cat,
    "Flatten": _Reader.flatten,
    "Reshape": _Reader.flatten,
    "Squeeze": _Reader.flatten,
    "Unsqueeze": _Reader.flatten,
    "Identity": _Reader.nothing,
    "Dropout": _Reader.nothing,
    "Cast": _Reader.nothing,
}
"""ONNX operator -> its translation."""


def _same(side: int, kernel: int, stride: int, upper: bool) -> Two:
    """Pads before and after, for a result of side / stride, rounded up."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return (total // 2, total - total // 2) if upper else (total - total // 2, total // 2)


def _site(node: onnx.NodeProto) -> Site:
    told = {prop.key: prop.value for prop in node.metadata_props}
    what = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    scopes = re.findall(r"'([^']*)'", told.get("pkg.torch.onnx.name_scopes", ""))
    module = scopes[-2] if len(scopes) > 1 else ""
    line = line_of(told.get("pkg.torch.onnx.stack_trace", ""))
    return Site(what, node.name or node.output[0], module, line)
