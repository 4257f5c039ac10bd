"""ExecuTorch, native rendering: one block of state that all methods share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.block import BlockRunner, check_abi
from dfedge.device.executorch import open_methods, to_tensor
from dfedge.native import glue

FORMAT = "executorch-native"


class ExecuTorchNativeRunner(BlockRunner):
    """See `dfedge.device.runners.Runner`; a method that is refused changes nothing."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        check_abi(bundle, FORMAT)
        library = glue.executorch()  # before any method is loaded
        self.methods, self.calls = open_methods(bundle, FORMAT, threads)
        super().__init__(bundle, library)

    def write(self, block: NDArray[np.uint8]) -> None:
        """Overwrite the block."""
        self.methods["set_state"].execute([to_tensor(block)])

    def read(self) -> NDArray[np.uint8]:
        """The block as it is."""
        (block,) = self.methods["get_state"].execute([])
        copy: NDArray[np.uint8] = block.numpy().copy()
        return copy

    def call(self, kind: str, x: NDArray[np.int8], *y: NDArray[np.int32]) -> list[NDArray[Any]]:
        """Run a method; copies of its results."""
        given = [to_tensor(x), *map(to_tensor, y)]
        try:
            results = self.calls[kind, len(x)].execute(given)
        except RuntimeError as error:
            raise self.glue.reason(error) from error
        return [value.numpy().copy() for value in results]
