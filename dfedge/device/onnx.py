"""ONNX Runtime: functional programs; two sets of state buffers, bound by address and swapped."""

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.errors import DfedgeError
from dfedge.state import State


class OnnxRunner:
    """See `dfedge.device.runners.Runner`."""

    def __init__(self, bundle: Bundle) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        files = bundle.format("onnx").files
        self.sessions: dict[tuple[str, int], Any] = {}
        for method in bundle.manifest.methods:
            path = bundle.folder / files[method.name]
            try:
                session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime raises a dozen unrelated classes
                raise DfedgeError(f"{path}: onnxruntime refuses it: {error}") from error
            self.sessions[method.kind, method.batch] = session
        self.classes = len(bundle.manifest.classes)
        self.layers = len(bundle.manifest.layers)
        self.set_state(bundle.initial_state())

    def set_state(self, state: State) -> None:
        """Overwrite the whole state."""
        self.now = {name: _value(array) for name, array in state.items()}
        self.next = {name: _value(np.zeros_like(array)) for name, array in state.items()}

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        return {name: value.numpy().copy() for name, value in self.now.items()}

    def infer(self, x: NDArray[np.int8]) -> NDArray[np.int32]:
        """Scores [B, K]."""
        (scores,) = self._run("infer", {"x": x}, {"scores": self._scores(x)})
        return scores

    def train(
        self, x: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch."""
        results = {"scores": self._scores(x), "active": np.empty(self.layers, np.int32)}
        scores, active = self._run("train", {"x": x, "y": y}, results)
        return scores, active

    def _scores(self, x: NDArray[np.int8]) -> NDArray[np.int32]:
        return np.empty((len(x), self.classes), np.int32)

    def _run(
        self, kind: str, inputs: dict[str, NDArray[Any]], results: dict[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """One call over buffers bound by address; state that it rewrites changes sides after it."""
        session = self.sessions[kind, len(inputs["x"])]
        binding = session.io_binding()
        given = self.now | {name: _value(array) for name, array in inputs.items()}
        for entry in session.get_inputs():
            binding.bind_ortvalue_input(entry.name, given[entry.name])
        taken = {name: _value(array) for name, array in results.items()}
        rewritten = []
        for entry in session.get_outputs():
            name = entry.name.removesuffix(".next")
            if name != entry.name:
                rewritten.append(name)
            binding.bind_ortvalue_output(entry.name, taken.get(name, self.next.get(name)))
        session.run_with_iobinding(binding)
        for name in rewritten:
            self.now[name], self.next[name] = self.next[name], self.now[name]
        # A value's array is a view of memory that dies with the value.
        return [taken[name].numpy().copy() for name in results]


def _value(array: NDArray[Any]) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(np.array(array, order="C"))
