"""ONNX Runtime, native rendering: the state bound to input and output, so changed where it lies."""

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.block_runner import BlockRunner, check_abi
from dfedge.device.onnx import open_sessions, results_of, to_value
from dfedge.errors import DfedgeError
from dfedge.native import glue

FORMAT = "onnx-native"


class OnnxNativeRunner(BlockRunner):
    """See `dfedge.device.runners.Runner`."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        check_abi(bundle, FORMAT)
        library = glue.onnxruntime()
        options = ort.SessionOptions()
        try:
            options.register_custom_ops_library(str(library.path))
        except Exception as error:  # onnxruntime raises a dozen unrelated classes
            raise DfedgeError(f"{library.path}: onnxruntime refuses it: {error}") from error
        self.sessions = open_sessions(bundle, FORMAT, options, threads)
        super().__init__(bundle, library)

    def write(self, block: NDArray[np.uint8]) -> None:
        """Overwrite the block."""
        self.state = to_value(block)

    def read(self) -> NDArray[np.uint8]:
        """The block as it is."""
        block: NDArray[np.uint8] = self.state.numpy().copy()
        return block

    def call(self, kind: str, x: NDArray[np.int8], *y: NDArray[np.int32]) -> list[NDArray[Any]]:
        """Run a method; copies of its results."""
        session = self.sessions[kind, len(x)]
        binding = session.io_binding()
        given = [
            self.state,
            to_value(x),
            *(to_value(labels) for labels in y),
        ]  # in the order of the inputs
        for entry, value in zip(session.get_inputs(), given, strict=True):
            binding.bind_ortvalue_input(entry.name, value)
        results = results_of(session, binding, {"state.next": self.state})
        try:
            session.run_with_iobinding(binding)
        except Exception as error:
            raise self.glue.reason(f"{type(error).__name__}: {error}") from error
        return [value.numpy().copy() for value in results]
