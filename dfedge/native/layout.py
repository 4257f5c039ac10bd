"""Tensors that lie one after the other in one block of memory: the state, a trunk's constants."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGN = 4

Fields = dict[str, int]
"""A structure's fields, by name, in order."""


@dataclass(frozen=True)
class PlacedTensor:
    """One tensor: where it lies in the block, its type and shape."""

    offset: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Its size."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


def lay_out(values: Mapping[str, NDArray[Any]]) -> dict[str, PlacedTensor]:
    """Place every tensor in one block, in order, each at a multiple of `ALIGN`."""
    placed, offset = {}, 0
    for name, value in values.items():
        placed[name] = PlacedTensor(offset, value.dtype.str.lstrip("<>|="), value.shape)
        offset += -(-value.nbytes // ALIGN) * ALIGN
    return placed


def block_bytes(placed: Mapping[str, PlacedTensor]) -> int:
    """Of a whole block."""
    ends = [tensor.offset + tensor.bytes for tensor in placed.values()]
    return -(-max(ends, default=0) // ALIGN) * ALIGN


def block_of(
    placed: Mapping[str, PlacedTensor], values: Mapping[str, NDArray[Any]]
) -> NDArray[np.uint8]:
    """The tensors as they lie in memory."""
    block = np.zeros(block_bytes(placed), np.uint8)
    for name, tensor in placed.items():
        raw = np.ascontiguousarray(values[name]).reshape(-1).view(np.uint8)
        block[tensor.offset : tensor.offset + tensor.bytes] = raw
    return block
