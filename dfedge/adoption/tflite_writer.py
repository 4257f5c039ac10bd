"""An ONNX graph in the making, of the operators of a .tflite file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from dfedge.adoption.tflite_file import TfliteGraph, TfliteOperator, TfliteTensor
from dfedge.errors import DfedgeError

DOMAIN = "tflite"
"""Operators that have no translation keep their names in a domain of their own."""
TO_FRONT, TO_BACK = [0, 3, 1, 2], [0, 2, 3, 1]
"""Channels, from the last axis and back to it."""
MOVING = ("Transpose", "Reshape")
"""Nodes that compute nothing."""
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
"""Fused into an operator, by their numbers."""
MAY_FALL = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB")
"""What a converter may merge a ReLU with by the range of the result's codes alone."""


class Writer:
    """One translation; ``op`` is at work."""

    op: TfliteOperator

    def __init__(self, net: TfliteGraph) -> None:
        self.net = net
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.shapes: list[onnx.ValueInfoProto] = []
        self.values: dict[int, str] = {}
        self.folded: dict[int, NDArray[Any]] = {}
        self.used: set[str] = set()

    # -- operands -----------------------------------------------------------------------------

    def tensor(self, place: int) -> TfliteTensor:
        """An input of the operator at work."""
        return self.net.tensors[self.op.inputs[place]]

    @property
    def made(self) -> TfliteTensor:
        """Its result."""
        return self.net.tensors[self.op.outputs[0]]

    def has(self, place: int) -> bool:
        """Whether an input is given."""
        return place < len(self.op.inputs) and self.op.inputs[place] >= 0

    def option(self, name: str, default: Any = 0) -> Any:
        """A field of its options."""
        return self.op.options.get(name, default)

    def real(self, place: int) -> NDArray[Any]:
        """A constant input, in real numbers, or integers that are none of a scale.

        Raises:
            DfedgeError: it is computed.
        """
        tensor = self.tensor(place)
        if self.op.inputs[place] in self.folded:
            return self.folded[self.op.inputs[place]]
        if tensor.data is None:
            raise self.refused(f"with a computed operand {place}, or one that is stored sparsely")
        if tensor.quantised is not None:
            return tensor.quantised.real(tensor.data)
        kind = np.float32 if tensor.dtype.startswith("FLOAT") else np.int64
        return tensor.data.astype(kind)

    def numbers(self, place: int) -> list[int]:
        """Axes, sizes and the like."""
        return [int(value) for value in self.real(place).flatten()]

    def read(self, place: int) -> str:
        """The ONNX name of an operand, a map with its channels in front.

        A constant is made one of four axes where the result has four, so that it meets the
        operator's other operand.
        """
        index = self.op.inputs[place]
        if index in self.values:
            return self.values[index]
        array = self.real(place).astype(np.float32)
        if len(self.made.shape) == 4 and array.ndim:
            array = array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(TO_FRONT)
        return self.constant(array)

    def in_order(self, place: int) -> str:
        """The same with the file's own order of axes."""
        name = self.read(place)
        back = len(self.tensor(place).shape) == 4
        return self.emit("Transpose", [name], perm=TO_BACK) if back else name

    # -- results ------------------------------------------------------------------------------

    def constant(self, array: NDArray[Any] | np.float32) -> str:
        """A weight of the model."""
        name = f"constant:{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def emit(self, kind: str, inputs: Sequence[str], domain: str = "", **attributes: Any) -> str:
        """An ONNX node; returns its result.

        The first that computes has the operator's own name: its kind and its place in the file.
        """
        own = f"{self.op.kind.lower()}_{self.op.number}"
        name = f"{own}.{len(self.nodes)}" if kind in MOVING or own in self.used else own
        self.used.add(name)
        self.nodes.append(
            helper.make_node(kind, inputs, [name], name, None, domain, None, **attributes)
        )
        return name

    def give(self, name: str, ordered: bool = False, output: int = 0) -> None:
        """Take a result, after the activation that is fused into the operator.

        Args:
            ordered: its axes are in the file's own order.
        """
        index = self.op.outputs[output]
        if ordered and len(self.net.tensors[index].shape) == 4:
            name = self.emit("Transpose", [name], perm=TO_FRONT)
        self.values[index] = self._activated(name)

    def reshaped(self, name: str) -> str:
        """A value in the file's order, in the shape of the operator's result."""
        shape = self.made.shape
        if shape[:1] not in ((), (1,)):
            raise self.refused(f"to {list(shape)}: it mixes samples")
        return self.emit("Reshape", [name, self.constant(np.array([0, *shape[1:]], np.int64))])

    def _activated(self, name: str) -> str:
        kind = ACTIVATIONS[self.option("fusedActivationFunction")]
        if kind == "NONE" and self.op.kind in MAY_FALL and self._falls():
            kind = "RELU"
        if kind in ("RELU6", "RELU_N1_TO_1"):
            low, high = (0, 6) if kind == "RELU6" else (-1, 1)
            bounds = [self.constant(np.float32(bound)) for bound in (low, high)]
            return self.emit("Clip", [name, *bounds])
        if kind in ("TANH", "SIGN_BIT"):
            raise self.refused(f"with a fused {kind}, which LiteRT's own kernels leave out")
        return name if kind == "NONE" else self.emit("Relu", [name])

    def _falls(self) -> bool:
        """Whether the result's codes end at zero, and what is negative is cut off."""
        given = [self.tensor(place) for place in range(2) if self.op.kind in ("ADD", "SUB")]
        return self.made.least == 0 and (not given or any(one.least != 0 for one in given))

    def refused(self, why: str) -> DfedgeError:
        """Make the error for what the file's operator asks."""
        return DfedgeError(f"operation '{self.op.kind}' number {self.op.number} {why}")

    def unknown(self) -> None:
        """Hand an operator on under its own name: `read_onnx` says what would replace it."""
        given = [self.read(i) for i, index in enumerate(self.op.inputs) if index in self.values]
        name = self.emit(self.op.kind, given, DOMAIN)
        shape = self.made.shape
        sides = [shape[i] for i in TO_FRONT] if len(shape) == 4 else shape
        self.shapes.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sides))
        self.values[self.op.outputs[0]] = name
