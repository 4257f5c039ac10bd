"""ONNX Runtime: functional programs; two sets of state buffers, bound by address and swapped."""

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.errors import DfedgeError
from dfedge.state import State

TYPES = {"tensor(int8)": np.int8, "tensor(int32)": np.int32}


class OnnxRunner:
    """See `dfedge.device.runners.Runner`."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        files = bundle.format("onnx").files
        self.sessions: dict[tuple[str, int], Any] = {}
        for method in bundle.manifest.methods:
            path = bundle.folder / files[method.name]
            try:
                session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime raises a dozen unrelated classes
                raise DfedgeError(f"{path}: onnxruntime refuses it: {error}") from error
            self.sessions[method.kind, method.batch] = session
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
        (scores,) = self._run("infer", {"x": x})
        return scores

    def features(self, x: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        """What each layer's anchors see, then the latent."""
        return self._run("features", {"x": x})

    def train(
        self, x: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch."""
        scores, active = self._run("train", {"x": x, "y": y})
        return scores, active

    def train_from(
        self, z: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch of latents."""
        scores, active = self._run("train_from", {"x": z, "y": y})
        return scores, active

    def _run(self, kind: str, inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """One call over buffers bound by address; state that it rewrites changes sides after it."""
        session = self.sessions[kind, len(inputs["x"])]
        binding = session.io_binding()
        given = self.now | {name: _value(array) for name, array in inputs.items()}
        for entry in session.get_inputs():
            binding.bind_ortvalue_input(entry.name, given[entry.name])
        results, rewritten = [], []
        for entry in session.get_outputs():
            name = entry.name.removesuffix(".next")
            if name != entry.name:
                rewritten.append(name)
                value = self.next[name]
            else:
                value = _value(np.empty(entry.shape, TYPES[entry.type]))
                results.append(value)
            binding.bind_ortvalue_output(entry.name, value)
        session.run_with_iobinding(binding)
        for name in rewritten:
            self.now[name], self.next[name] = self.next[name], self.now[name]
        # A value's array is a view of memory that dies with the value.
        return [value.numpy().copy() for value in results]


def _value(array: NDArray[Any]) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(np.array(array, order="C"))
