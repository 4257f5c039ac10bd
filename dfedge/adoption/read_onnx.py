"""An ONNX graph -> `Graph`: the operations of `dfedge.adoption.read`, or a refusal."""

import math
from collections.abc import Callable
from functools import partial

import onnx
import torch
from torch import Tensor

from dfedge.adoption.activations import Activation, find
from dfedge.adoption.graph import ForeignGraph, Op, Shape
from dfedge.adoption.onnx_graph import FLOATS
from dfedge.adoption.onnx_windows import OnnxWindows, pooling
from dfedge.adoption.translation import Arithmetic
from dfedge.adoption.values import Refused

CONTROL = ("If", "Loop", "Scan")


def read_onnx(
    model: onnx.ModelProto, refused: Refused = None, sample: Shape | None = None
) -> ForeignGraph:
    """Translate.

    Args:
        sample: [C, H, W], see `dfedge.adoption.values.Values.input`.
        refused: collects what cannot be (`dfedge.adoption.values.Values`); the graph is then no
            use.

    Raises:
        DfedgeError: an operation that is not known (with what would replace it), a shape that is
            dynamic beyond the batch, weights that are not finite, or more than one input or output.
    """
    reader = _Reader(model, sample)
    reader.refused = refused
    return reader.read()


class _Reader(OnnxWindows):
    """One translation."""

    def read(self) -> ForeignGraph:
        """See `read_onnx`."""
        self.take_inputs()
        for node in self.model.node:
            self.turn_to(node)
            self.attempt(self._translate, [name for name in node.input if name], self.dims_said())
        return self.graph([value.name for value in self.model.output])

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
            self.hold(self.key, self.evaluate(self.shape_alone(inputs[0]))[0])
        elif node.op_type == "Constant" or (inputs and not self.values.keys() & set(inputs)):
            for name, made in zip(node.output, self.evaluate(), strict=False):
                self.hold(name, made)
        else:
            made = READERS.get(self.site.what)
            activation = None if made else find(self.site.what)
            if activation is not None:
                self._activate(activation)
            elif made is None:
                raise self.refusal()
            else:
                made(self)

    def _activate(self, activation: Activation) -> None:
        if len(self.node.input) != 1:
            raise self.refusal(f"{self.site.what} of several values", "one value")
        given = {name: self.attribute(name, value) for name, value in activation.attributes.items()}
        self.function(self.operand(0), partial(activation.function, **given))

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
        bounds = self.setting("min", 1, -math.inf), self.setting("max", 2, math.inf)
        if any(isinstance(bound, Tensor) and bound.numel() != 1 for bound in bounds):
            raise self.refusal("Clip with a bound for each value", "one number")
        self.clip(self.operand(0), 1, 0, float(bounds[0]), float(bounds[1]))

    def hard_sigmoid(self) -> None:
        """HardSigmoid."""
        slope, lift = self.attribute("alpha", 0.2), self.attribute("beta", 0.5)
        self.clip(self.operand(0), slope, lift, 0, 1)

    def prelu(self) -> None:
        """PRelu with a slope, or one a channel."""
        self.leaky(self.operand(0), self.weights(self.operand(1)))

    def probabilities(self) -> None:
        """Softmax and LogSoftmax."""
        usual = -1 if self.opsets.get("", 13) >= 13 else 1
        self.softmax(self.operand(0), self.attribute("axis", usual))

    def power(self) -> None:
        """Pow with a number."""
        exponent = self.weights(self.operand(1))
        if exponent.numel() != 1:
            raise self.refusal("Pow with an exponent for each value", "one number")
        self.function(self.operand(0), lambda x: x ** float(exponent))

    def whole(self) -> None:
        """GlobalAveragePool and GlobalMaxPool."""
        given = self.operand(0)
        op: Op = "max" if "Max" in self.node.op_type else "mean"
        self.reduce(op, given, range(2, 1 + len(self.value(given).dims)), True)

    def over_axes(self) -> None:
        """ReduceMean, ReduceSum and ReduceMax."""
        given, kind = self.operand(0), self.node.op_type
        rank = 1 + len(self.value(given).dims)
        axes = [int(axis) for axis in self.setting("axes", 1, range(rank))]
        before = math.prod(self.value(given).dims)
        self.reduce("max" if kind == "ReduceMax" else "mean", given, axes,
                    bool(self.attribute("keepdims", 1)))  # fmt: skip
        if kind == "ReduceSum":
            count = before // math.prod(self.value(self.key).dims)
            self.with_constant("mul", self.key, torch.tensor(float(count)), False)

    def length_of(self) -> None:
        """ReduceL2 and ReduceSumSquare."""
        given = self.operand(0)
        axes = [int(axis) for axis in self.setting("axes", 1, range(1 + len(self.dims(given))))]
        keep = bool(self.attribute("keepdims", 1))
        if self.node.op_type == "ReduceL2":
            self.length(given, 2, axes, keep)
        else:
            self.squares(given, axes, keep)

    def direction(self) -> None:
        """LpNormalization."""
        given, made, axis = self.operand(0), self.key, self.attribute("axis", -1)
        self.length(given, self.attribute("p", 2), [axis], True)
        self.combine("div", given, made)

    def extreme(self) -> None:
        """Max and Min of a value and a number, or of two values."""
        given = [name for name in self.node.input if name in self.values]
        if len(given) == len(self.node.input) == 2:
            self.extreme_of(self.node.op_type == "Max", *given)
            return
        others = [self.weights(name) for name in self.node.input if name not in given]
        if len(given) != 1 or any(other.numel() != 1 for other in others):
            raise self.refusal(f"{self.site.what} of several values", "one value and numbers")
        bounds = [float(other) for other in others]
        low, high = (max(bounds), math.inf) if self.node.op_type == "Max" else (
            -math.inf, min(bounds))  # fmt: skip
        self.clip(given[0], 1, 0, low, high)

    def neighbouring(self) -> None:
        """LRN."""
        alpha, beta = self.attribute("alpha", 1e-4), self.attribute("beta", 0.75)
        self.neighbours(self.operand(0), self.attribute("size"), alpha, beta,
                        self.attribute("bias", 1.0))  # fmt: skip

    def total(self) -> None:
        """Sum of any number of values."""
        names = list(self.node.input)
        if all(name in self.values for name in names):
            self.sum(names)
        elif len(names) == 2:
            _arithmetic("add")(self)
        else:
            raise self.refusal("Sum with constants", "Add, one after the other")

    def cat(self) -> None:
        """Concat."""
        self.concat(list(self.node.input), self.attribute("axis"))

    def flatten(self) -> None:
        """Flatten, Reshape, Squeeze and Unsqueeze: onnx says what shape comes of it."""
        self._check_constants()
        out = self.evaluate(self.shape_alone(self.operand(0)))[0].shape
        if out[:1] != (self.batch,):
            raise self.refusal(f"{self.site.what} across samples, to {list(out)}",
                               "the batch as the first axis")  # fmt: skip
        self.reshape(self.operand(0), out[1:])

    def nothing(self) -> None:
        """Identity, Dropout in evaluation, Cast between kinds of float."""
        if self.operand(2) and bool(self.weights(self.operand(2))):
            raise self.refusal("Dropout in training", "net.eval() before the export")
        if self.attribute("to") == onnx.TensorProto.BOOL:
            self.function(self.operand(0), lambda x: (x != 0).to(x.dtype))
            return
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


def _of_one(function: Callable[..., Tensor]) -> Callable[[_Reader], None]:
    """Of several values that are made from one."""

    def read(reader: _Reader) -> None:
        if not reader.joined(function, list(reader.node.input)):
            raise reader.refusal(f"{reader.site.what} of several values", "what is made from one")

    return read


READERS: dict[str, Callable[[_Reader], None]] = {
    "Conv": _Reader.convolution,
    "Gemm": _Reader.gemm,
    "MatMul": _Reader.matmul,
    "BatchNormalization": _Reader.batch_norm,
    "Relu": _Reader.relu,
    "Clip": _Reader.bounded,
    "HardSigmoid": _Reader.hard_sigmoid,
    "PRelu": _Reader.prelu,
    "Pow": _Reader.power,
    "Softmax": _Reader.probabilities,
    "LogSoftmax": _Reader.probabilities,
    "Add": _arithmetic("add"),
    "Sub": _arithmetic("sub"),
    "Mul": _arithmetic("mul"),
    "Div": _arithmetic("div"),
    "AveragePool": pooling("mean"),
    "MaxPool": pooling("max"),
    "GlobalAveragePool": _Reader.whole,
    "GlobalMaxPool": _Reader.whole,
    "ReduceMean": _Reader.over_axes,
    "ReduceSum": _Reader.over_axes,
    "ReduceMax": _Reader.over_axes,
    "ReduceL2": _Reader.length_of,
    "ReduceSumSquare": _Reader.length_of,
    "LpNormalization": _Reader.direction,
    "Max": _Reader.extreme,
    "Min": _Reader.extreme,
    "LRN": _Reader.neighbouring,
    "Greater": _of_one(torch.gt),
    "GreaterOrEqual": _of_one(torch.ge),
    "Less": _of_one(torch.lt),
    "LessOrEqual": _of_one(torch.le),
    "Equal": _of_one(torch.eq),
    "And": _of_one(torch.mul),
    "Or": _of_one(torch.maximum),
    "Where": _of_one(lambda chosen, a, b: torch.where(chosen > 0, a, b)),
    "Sum": _Reader.total,
    "Pad": _Reader.padding,
    "Resize": _Reader.resize,
    "Upsample": _Reader.resize,
    "Concat": _Reader.cat,
    "Flatten": _Reader.flatten,
    "Reshape": _Reader.flatten,
    "Squeeze": _Reader.flatten,
    "Unsqueeze": _Reader.flatten,
    "Transpose": _Reader.moving,
    "Slice": _Reader.moving,
    "Split": _Reader.moving,
    "Gather": _Reader.moving,
    "Expand": _Reader.moving,
    "Tile": _Reader.moving,
    "DepthToSpace": _Reader.moving,
    "SpaceToDepth": _Reader.moving,
    "Identity": _Reader.nothing,
    "Dropout": _Reader.nothing,
    "Cast": _Reader.nothing,
}
"""ONNX operator -> its translation; functions of one value are in `dfedge.adoption.activations`."""
