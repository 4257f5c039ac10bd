"""ONNX Runtime: functional programs; two sets of state buffers, bound by address and swapped."""

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.calls import CallRunner
from dfedge.errors import DfedgeError
from dfedge.state import State

TYPES = {"tensor(int8)": np.int8, "tensor(int32)": np.int32}


class OnnxRunner(CallRunner):
    """See `dfedge.device.runners.Runner`."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self.sessions = open_sessions(bundle, "onnx", ort.SessionOptions(), threads)
        self.set_state(bundle.initial_state())

    def set_state(self, state: State) -> None:
        """Overwrite the whole state."""
        self.now = {name: to_value(array) for name, array in state.items()}
        self.next = {name: to_value(np.zeros_like(array)) for name, array in state.items()}

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        return {name: value.numpy().copy() for name, value in self.now.items()}

    def call(self, kind: str, x: NDArray[np.int8], *y: NDArray[np.int32]) -> list[NDArray[Any]]:
        """One call over buffers bound by address; state that it rewrites changes sides after it."""
        session = self.sessions[kind, len(x)]
        binding = session.io_binding()
        inputs: dict[str, NDArray[Any]] = dict(zip("xy", (x, *y), strict=False))
        given = self.now | {name: to_value(array) for name, array in inputs.items()}
        for entry in session.get_inputs():
            binding.bind_ortvalue_input(entry.name, given[entry.name])
        results = results_of(
            session, binding, {f"{name}.next": value for name, value in self.next.items()}
        )
        session.run_with_iobinding(binding)
        for entry in session.get_outputs():
            name = entry.name.removesuffix(".next")
            if name != entry.name:
                self.now[name], self.next[name] = self.next[name], self.now[name]
        # A value's array is a view of memory that dies with the value.
        return [value.numpy().copy() for value in results]


def open_sessions(
    bundle: Bundle, format: str, options: ort.SessionOptions, threads: int
) -> dict[tuple[str, int], Any]:
    """A session for each method, by kind and batch size.

    Raises:
        DfedgeError: onnxruntime refuses a program.
    """
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    files = bundle.format(format).files
    sessions: dict[tuple[str, int], Any] = {}
    for method in bundle.manifest.methods:
        path = bundle.folder / files[method.name]
        try:
            session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen unrelated classes
            raise DfedgeError(f"{path}: onnxruntime refuses it: {error}") from error
        sessions[method.kind, method.batch] = session
    return sessions


def results_of(session: Any, binding: Any, bound: dict[str, Any]) -> list[Any]:
    """Bind every output: to the value of its name, else to a new one; the new ones come back."""
    results = []
    for entry in session.get_outputs():
        value = bound.get(entry.name)
        if value is None:
            value = to_value(np.empty(entry.shape, TYPES[entry.type]))
            results.append(value)
        binding.bind_ortvalue_output(entry.name, value)
    return results


def to_value(array: NDArray[Any]) -> Any:
    """A copy in onnxruntime's own memory."""
    return ort.OrtValue.ortvalue_from_numpy(np.array(array, order="C"))
