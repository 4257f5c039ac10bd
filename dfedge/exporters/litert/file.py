"""A .tflite: one file, several subgraphs, shared operator codes and constants."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from dfedge.exporters.graph import StockGraph

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


class Quantisation(NamedTuple):
    """What a quantised tensor's integers stand for: ``(q - zero) * scale``.

    Attributes:
        scales: one, or one for each place along ``axis``.
    """

    scales: tuple[float, ...]
    zero: int = 0
    axis: int = 0


class File:
    """Subgraphs, each with a signature of its name.

    Args:
        versions: of operators, beside `VERSIONS`.
    """

    def __init__(self, versions: Mapping[int, int] | None = None) -> None:
        self.versions = VERSIONS | dict(versions or {})
        self.codes: dict[int, int] = {}
        self.buffers: dict[bytes, int] = {b"": 0}  # by convention the first is empty
        self.subgraphs: list[Any] = []
        self.signatures: list[Any] = []

    def add(
        self, name: str, graph: StockGraph, scales: Mapping[int, Quantisation] | None = None
    ) -> None:
        """Put in a graph.

        Args:
            scales: of quantised tensors.
        """
        self.signatures.append(_signature(name, graph, len(self.subgraphs)))
        self.subgraphs.append(self._subgraph(name, graph, scales or {}))

    def _subgraph(self, name: str, graph: StockGraph, scales: Mapping[int, Quantisation]) -> Any:
        made = schema.SubGraphT()
        made.name = name
        names = {index: name for name, index in (graph.inputs | graph.outputs).items()}
        made.tensors = []
        for i, (shape, dtype) in enumerate(zip(graph.shapes, graph.types, strict=True)):
            tensor = schema.TensorT()
            tensor.shape, tensor.type, tensor.buffer = list(shape), TYPES[dtype], 0
            tensor.name = names.get(i, f"t{i}")
            if i in graph.constants:
                data = graph.constants[i].tobytes()
                tensor.buffer = self.buffers.setdefault(data, len(self.buffers))
            if i in scales:
                tensor.quantization = _quantization(scales[i])
            made.tensors.append(tensor)
        made.operators = []
        for node in graph.nodes:
            operator = schema.OperatorT()
            operator.opcodeIndex = self.codes.setdefault(node.kind, len(self.codes))
            operator.inputs, operator.outputs = list(node.inputs), [node.output]
            if node.options is not None:
                operator.builtinOptionsType, operator.builtinOptions = node.options
            made.operators.append(operator)
        made.inputs, made.outputs = list(graph.inputs.values()), list(graph.outputs.values())
        return made

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
        model.subgraphs, model.signatureDefs = self.subgraphs, self.signatures
        return packed(model)


def packed(model: Any) -> bytes:
    """A ``schema.ModelT`` as a file."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _signature(name: str, graph: StockGraph, number: int) -> Any:
    """The entry point of a subgraph."""

    def entries(tensors: Mapping[str, int]) -> list[Any]:
        found = []
        for tensor, index in tensors.items():
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = tensor, index
            found.append(entry)
        return found

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = name, number
    signature.inputs, signature.outputs = entries(graph.inputs), entries(graph.outputs)
    return signature


def _quantization(scale: Quantisation) -> Any:
    """For the schema."""
    made = schema.QuantizationParametersT()
    made.scale = np.array(scale.scales, np.float32)
    made.zeroPoint = np.full(len(scale.scales), scale.zero, np.int64)
    made.quantizedDimension = scale.axis
    return made
