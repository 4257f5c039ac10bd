"""Building a .tflite: one file, several subgraphs, shared operator codes and constants."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

TYPES = {
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.bool_): schema.TensorType.BOOL,
}

_INT8 = (
    "CAST", "CONCATENATION", "GATHER", "MAXIMUM", "MINIMUM", "PAD", "SLICE", "STRIDED_SLICE",
    "TRANSPOSE",
)  # fmt: skip
VERSIONS = {getattr(schema.BuiltinOperator, name): 2 for name in _INT8}
"""The operator's version that knows int8; of all others, 1."""

Options = tuple[int, Any] | None
"""(schema.BuiltinOptions.NAME, its object)."""


class Scale(NamedTuple):
    """What a quantised tensor's integers stand for: ``(q - zero) * scale``.

    Attributes:
        scales: one, or one for each place along ``axis``.
    """

    scales: tuple[float, ...]
    zero: int = 0
    axis: int = 0


class File:
    """What all subgraphs of a file share.

    Args:
        versions: of operators, beside `VERSIONS`.
    """

    def __init__(self, versions: Mapping[int, int] | None = None) -> None:
        self.versions = VERSIONS | dict(versions or {})
        self.codes: dict[int, int] = {}
        self.buffers: list[bytes] = [b""]  # by convention the first is empty
        self.known: dict[bytes, int] = {b"": 0}
        self.graphs: list[Graph] = []

    def code(self, builtin: int) -> int:
        """Index of an operator code."""
        return self.codes.setdefault(builtin, len(self.codes))

    def buffer(self, data: bytes) -> int:
        """Index of a constant's bytes."""
        if data not in self.known:
            self.known[data] = len(self.buffers)
            self.buffers.append(data)
        return self.known[data]

    def to_bytes(self) -> bytes:
        """The file."""
        model = schema.ModelT()
        model.version = 3
        model.operatorCodes = []
        for builtin in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode, code.version = builtin, self.versions.get(builtin, 1)
            code.deprecatedBuiltinCode = min(builtin, 127)
            model.operatorCodes.append(code)
        model.buffers = []
        for data in self.buffers:
            buffer = schema.BufferT()
            if data:
                buffer.data = np.frombuffer(data, np.uint8)
            model.buffers.append(buffer)
        model.subgraphs = [graph.subgraph() for graph in self.graphs]
        model.signatureDefs = [graph.signature(i) for i, graph in enumerate(self.graphs)]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


class Graph:
    """One subgraph.  A tensor is its index; its shape and type are known.

    What is asked for twice, an operator on the same tensors or a constant, is made once.
    """

    def __init__(self, file: File, name: str) -> None:
        self.file, self.name = file, name
        self.shapes: list[tuple[int, ...]] = []
        self.types: list[np.dtype[Any]] = []
        self.constant: list[int] = []  # buffer of each tensor, 0 where it is none
        self.nodes: list[tuple[int, list[int], list[int], Options]] = []
        self.scales: dict[int, Scale] = {}  # of quantised tensors
        self.inputs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}
        self.made: dict[Any, int] = {}
        file.graphs.append(self)

    def tensor(self, shape: Sequence[int], dtype: Any, buffer: int = 0) -> int:
        """A new tensor."""
        self.shapes.append(tuple(shape))
        self.types.append(np.dtype(dtype))
        self.constant.append(buffer)
        return len(self.shapes) - 1

    def const(self, value: Any, dtype: Any = np.int32) -> int:
        """A constant."""
        array: NDArray[Any] = np.ascontiguousarray(np.asarray(value, dtype))
        shape, buffer = np.shape(value), self.file.buffer(array.tobytes())
        key = (shape, np.dtype(dtype), buffer)
        if key not in self.made:
            self.made[key] = self.tensor(shape, dtype, buffer)
        return self.made[key]

    def op(
        self,
        builtin: int,
        inputs: Sequence[int],
        shape: Sequence[int],
        dtype: Any,
        options: Options = None,
    ) -> int:
        """Append an operator with one result."""
        said = repr(sorted(vars(options[1]).items())) if options else ""
        key = (builtin, tuple(inputs), tuple(shape), np.dtype(dtype), said)
        if key not in self.made:
            self.made[key] = self.tensor(shape, dtype)
            self.file.code(builtin)
            self.nodes.append((builtin, list(inputs), [self.made[key]], options))
        return self.made[key]

    def bytes_of(self, tensor: int) -> int:
        """Size of a tensor."""
        return int(np.prod(self.shapes[tensor], dtype=np.int64)) * self.types[tensor].itemsize

    def subgraph(self) -> Any:
        """For the schema."""
        graph = schema.SubGraphT()
        graph.name = self.name
        names = {index: name for name, index in (self.inputs | self.outputs).items()}
        graph.tensors = []
        for i, (shape, dtype, buffer) in enumerate(
            zip(self.shapes, self.types, self.constant, strict=True)
        ):
            tensor = schema.TensorT()
            tensor.shape, tensor.type, tensor.buffer = list(shape), TYPES[dtype], buffer
            tensor.name = names.get(i, f"t{i}")
            if i in self.scales:
                tensor.quantization = _quantization(self.scales[i])
            graph.tensors.append(tensor)
        graph.operators = []
        for builtin, inputs, outputs, options in self.nodes:
            operator = schema.OperatorT()
            operator.opcodeIndex = self.file.code(builtin)
            operator.inputs, operator.outputs = inputs, outputs
            if options is not None:
                operator.builtinOptionsType, operator.builtinOptions = options
            graph.operators.append(operator)
        graph.inputs, graph.outputs = list(self.inputs.values()), list(self.outputs.values())
        return graph

    def signature(self, number: int) -> Any:
        """For the schema: the entry point of the subgraph's name."""

        def entries(tensors: dict[str, int]) -> list[Any]:
            found = []
            for name, index in tensors.items():
                entry = schema.TensorMapT()
                entry.name, entry.tensorIndex = name, index
                found.append(entry)
            return found

        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = self.name, number
        signature.inputs, signature.outputs = entries(self.inputs), entries(self.outputs)
        return signature


def _quantization(scale: Scale) -> Any:
    """For the schema."""
    made = schema.QuantizationParametersT()
    made.scale = np.array(scale.scales, np.float32)
    made.zeroPoint = np.full(len(scale.scales), scale.zero, np.int64)
    made.quantizedDimension = scale.axis
    return made
