"""A method as one call of the C interpreter: what native renderings are made of."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfedge.exporters.formats import ExportSource
from dfedge.exporters.golden import to_arrays
from dfedge.exporters.program import Method
from dfedge.native.program import CALLS, FEATURES, INFER, NativeProgram
from dfedge.native.table import ABI, ABI_NAME, make_table

LIBRARY = {ABI_NAME: str(ABI)}
"""What runs these programs, as the manifest names it; the sources are in `dfedge.native`."""


@dataclass(frozen=True)
class MethodCall:
    """One method.

    Attributes:
        number: of the kind, as ``dfedge.h`` has it.
        first, second: values of its results: scores and active samples, or features and latents.
        arena_bytes: that the interpreter asks for.
    """

    method: Method
    number: int
    first: int
    second: int
    arena_bytes: int

    @property
    def results(self) -> list[tuple[str, type, list[int]]]:
        """Name, type and shape of what it gives back, beside the state."""
        batch = self.method.batch
        if self.number == FEATURES:
            return [("features", np.int8, [self.first]), ("latent", np.int8, [self.second])]
        scores: list[tuple[str, type, list[int]]] = [
            ("scores", np.int32, [batch, self.first // batch])
        ]
        return scores if self.number == INFER else [*scores, ("active", np.int32, [self.second])]

    @property
    def result_bytes(self) -> int:
        """Of all results."""
        return sum(math.prod(shape) * np.dtype(kind).itemsize for _, kind, shape in self.results)


class Calls:
    """Every method of a source as calls over one table and one block of state.

    Attributes:
        words: the table, int32.
        state: the first state as one block, uint8.
    """

    def __init__(self, source: ExportSource) -> None:
        state = to_arrays(source.state)
        self.source = source
        table = make_table(source.plan, state, to_arrays(source.constants))
        self.program = NativeProgram(source.plan, table)
        self.words: NDArray[np.int32] = self.program.table.words
        self.state: NDArray[np.uint8] = self.program.checked(state)

    def __iter__(self) -> Iterator[MethodCall]:
        """In the order of the source's methods."""
        plan = self.source.plan
        features = sum(layer.features for layer in plan.layers)
        for method in self.source.methods:
            number, batch = CALLS[method.kind], method.batch
            first, second = plan.classes, len(plan.layers)
            if number == FEATURES:
                first, second = features, batch * math.prod(plan.latent_shape)
            arena = self.program.arena_bytes(number, batch)
            yield MethodCall(method, number, batch * first, second, arena)
