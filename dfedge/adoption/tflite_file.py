"""A file .tflite as plain records: tensors, constants in real numbers, operators."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.errors import DfedgeError, foreign
from dfedge.runtimes import runtime

IDENTIFIER = b"TFL3"
DTYPES = {
    "FLOAT32": "<f4", "FLOAT16": "<f2", "FLOAT64": "<f8", "INT8": "<i1", "UINT8": "<u1",
    "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "BOOL": "?",
}  # fmt: skip


@dataclass(frozen=True)
class Quantised:
    """What a tensor's integers stand for: ``scale * (q - zero)``.

    Attributes:
        scale, zero: float64 and int64 [1], or one for each place along ``axis``.
    """

    scale: NDArray[np.float64]
    zero: NDArray[np.int64]
    axis: int = 0

    def real(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Integers as the numbers that they stand for."""
        form = [1] * values.ndim
        if len(self.scale) > 1:
            form[self.axis] = -1
        found = self.scale.reshape(form) * (values.astype(np.int64) - self.zero.reshape(form))
        return found.astype(np.float32)


@dataclass(frozen=True)
class TfliteTensor:
    """One tensor.

    Attributes:
        shape: with the batch, as the file was converted; () where it is not stated.
        dtype: its name in the schema.
        data: of a constant, as stored; None: it is computed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantised: Quantised | None
    data: NDArray[Any] | None

    @property
    def least(self) -> float | None:
        """The real number that the least code stands for; None: not quantised, or by channel."""
        if self.quantised is None or len(self.quantised.scale) != 1 or self.dtype not in DTYPES:
            return None
        code = np.iinfo(np.dtype(DTYPES[self.dtype])).min
        return float(self.quantised.scale[0] * (code - self.quantised.zero[0]))


@dataclass(frozen=True)
class TfliteOperator:
    """One operator.

    Attributes:
        number: its place in the file.
        kind: its name in the schema, or that of a custom one.
        inputs, outputs: indices of tensors; -1: not given.
        options: its fields, by their names in the schema.
    """

    number: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class TfliteGraph:
    """The file's first subgraph."""

    tensors: list[TfliteTensor]
    operators: list[TfliteOperator]
    inputs: list[int]
    outputs: list[int] = field(default_factory=list)


def read_file(path: Path) -> TfliteGraph:
    """Read.

    Raises:
        DfedgeError: not a .tflite file, cut, or its reader is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise DfedgeError(
            f"{path}: reading it needs the package ai-edge-litert; {runtime('litert').remedy}"
        ) from error
    content = path.read_bytes()
    with foreign(path, "a LiteRT file", "convert the net again"):
        if content[4:8] != IDENTIFIER:
            raise ValueError(f"no {IDENTIFIER.decode()} at byte 4")
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        graph = model.subgraphs[0]
        types, kinds = _names(schema.TensorType), _names(schema.BuiltinOperator)
        tensors = [_tensor(one, types, model.buffers, content) for one in graph.tensors]
        codes = [_kind(one, kinds) for one in model.operatorCodes]
        operators = [
            TfliteOperator(
                number,
                codes[one.opcodeIndex],
                _ints(one.inputs),
                _ints(one.outputs),
                vars(one.builtinOptions) if one.builtinOptions else {},
            )
            for number, one in enumerate(graph.operators)
        ]
        places = [*graph.inputs, *graph.outputs, *(i for op in operators for i in op.outputs),
                  *(i for op in operators for i in op.inputs if i != -1)]  # fmt: skip
        if not all(0 <= place < len(tensors) for place in places):
            raise ValueError("a tensor that it does not have")
        return TfliteGraph(
            tensors, operators, list(_ints(graph.inputs)), list(_ints(graph.outputs))
        )


def _names(kind: type) -> dict[int, str]:
    return {value: name for name, value in vars(kind).items() if isinstance(value, int)}


def _kind(code: Any, kinds: Mapping[int, str]) -> str:
    if code.customCode:
        return str(code.customCode.decode())
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return kinds.get(number, f"operator {number}")


def _ints(values: Any) -> tuple[int, ...]:
    return () if values is None else tuple(int(value) for value in values)


def _tensor(one: Any, types: Mapping[int, str], buffers: list[Any], content: bytes) -> TfliteTensor:
    shape, dtype, quantised = _ints(one.shape), types.get(one.type, str(one.type)), None
    given = one.quantization
    if given is not None and given.scale is not None and len(given.scale):
        scale = np.asarray(given.scale, np.float64)
        zero = np.zeros(len(scale), np.int64)
        if given.zeroPoint is not None and len(given.zeroPoint):
            zero[:] = given.zeroPoint
        quantised = Quantised(scale, zero, int(given.quantizedDimension))
    buffer = buffers[one.buffer]
    raw = bytes(buffer.data) if buffer.data is not None else b""
    if not raw and buffer.size:
        raw = content[buffer.offset : buffer.offset + buffer.size]
    data = None
    if raw and dtype in DTYPES and one.sparsity is None:
        data = np.frombuffer(raw, DTYPES[dtype]).reshape(shape)
    name = one.name.decode() if one.name else ""
    return TfliteTensor(name, shape, dtype, quantised, data)
