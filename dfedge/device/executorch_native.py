"""ExecuTorch, native rendering, in its C++ runtime: no torch, nothing of its Python package.

What is called by ctypes stands in ``dfedge/native/ops/open.h``.  All methods share one block of
state and one arena.
"""

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.block_runner import BlockRunner, check_abi
from dfedge.errors import DfedgeError
from dfedge.native import glue
from dfedge.native.library import Buffer
from dfedge.native.program import CALLS

FORMAT = "executorch-native"


class ExecuTorchNativeRunner(BlockRunner):
    """See `dfedge.device.runners.Runner`; a method that is refused changes nothing."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        check_abi(bundle, FORMAT)
        library = glue.executorch()
        self.names = {(m.kind, m.batch): m.name for m in bundle.manifest.methods}
        (file,) = set(bundle.format(FORMAT).files.values())
        path, status = bundle.folder / file, ctypes.c_int()
        self.handle = library.library.dfe_open(str(path).encode(), ctypes.byref(status))
        if not self.handle:
            raise DfedgeError(f"{path}: executorch refuses it: error {status.value:#x}")
        weakref.finalize(self, library.library.dfe_close, self.handle)
        super().__init__(bundle, library)

    def write(self, block: NDArray[np.uint8]) -> None:
        """Overwrite the block."""
        self.run("set_state", [block], [np.empty(1, np.int32)])

    def read(self) -> NDArray[np.uint8]:
        """The block as it is."""
        block: NDArray[np.uint8] = np.empty_like(self.program.state)
        self.run("get_state", [], [block])
        return block

    def call(self, kind: str, x: NDArray[np.int8], *y: NDArray[np.int32]) -> list[NDArray[Any]]:
        """Run a method; its results."""
        results = self.program.results(CALLS[kind], len(x))
        labels = [np.ascontiguousarray(v, np.int32) for v in y]
        given: list[NDArray[Any]] = [np.ascontiguousarray(x, np.int8), *labels]
        self.run(self.names[kind, len(x)], given, results)
        return results

    def run(
        self, method: str, given: Sequence[NDArray[Any]], results: Sequence[NDArray[Any]]
    ) -> None:
        """Call a method by its name; ``results`` are overwritten.

        Raises:
            DfedgeError: it was refused.
        """
        status = self.glue.library.dfe_run(
            self.handle, method.encode(), *_buffers(given), *_buffers(results)
        )
        if status:
            raise self.glue.reason(f"{method}: executorch refuses it: error {status:#x}")


def _buffers(arrays: Sequence[NDArray[Any]]) -> tuple[ctypes.Array[Buffer], int]:
    found = [Buffer(array.ctypes.data, array.nbytes) for array in arrays]
    return (Buffer * len(found))(*found), len(found)
