"""A graph of a runtime's operators while it is built."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

I8, I32, F32 = np.int8, np.int32, np.float32


class StockOperator(NamedTuple):
    """One operator with one result.

    Attributes:
        kind: as the format calls it.
        inputs, output: tensors.
        options: as the format wants them; what is written alike is equal.
    """

    kind: Any
    inputs: Sequence[int]
    output: int
    options: Any


class StockGraph:
    """A tensor is its index; its shape and type are known.

    What is asked for twice, an operator on the same tensors or a constant, is made once.
    """

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.types: list[np.dtype[Any]] = []
        self.constants: dict[int, NDArray[Any]] = {}
        self.nodes: list[StockOperator] = []
        self.inputs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}
        self.made: dict[Any, int] = {}

    def copy(self) -> "StockGraph":
        """Another that goes on from here."""
        other = StockGraph()
        for name, value in vars(self).items():
            setattr(other, name, value.copy())
        return other

    def tensor(self, shape: Sequence[int], dtype: Any) -> int:
        """A new tensor."""
        self.shapes.append(tuple(shape))
        self.types.append(np.dtype(dtype))
        return len(self.shapes) - 1

    def const(self, value: Any, dtype: Any = I32) -> int:
        """A constant."""
        array = np.array(value, dtype, order="C")
        key = (array.shape, array.dtype, array.tobytes())
        if key not in self.made:
            self.made[key] = self.tensor(array.shape, dtype)
            self.constants[self.made[key]] = array
        return self.made[key]

    def op(
        self,
        kind: Any,
        inputs: Sequence[int],
        shape: Sequence[int],
        dtype: Any,
        options: Any = None,
    ) -> int:
        """Append an operator with one result."""
        key = (kind, tuple(inputs), tuple(shape), np.dtype(dtype), repr(options))
        if key not in self.made:
            self.made[key] = self.tensor(shape, dtype)
            self.nodes.append(StockOperator(kind, inputs, self.made[key], options))
        return self.made[key]

    def bytes_of(self, tensor: int) -> int:
        """Size of a tensor."""
        return int(np.prod(self.shapes[tensor], dtype=np.int64)) * self.types[tensor].itemsize
