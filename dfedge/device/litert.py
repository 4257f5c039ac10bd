"""LiteRT: functional programs behind signatures; the state goes in and comes out with every call.

Runs on ``ai-edge-litert`` and on its predecessor ``tflite-runtime`` 2.14 alike.  The default
delegate (XNNPACK) multiplies matrices 30 times faster than the plain kernels; it cannot swallow the
state, because no weight is a constant of the program, and its float32 sums of integers are exact in
any order.
"""

from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.errors import DfedgeError
from dfedge.quiet import hushed
from dfedge.state import State

try:
    from ai_edge_litert import interpreter as lite
except ImportError:
    from tflite_runtime import interpreter as lite


class LiteRtRunner:
    """See `dfedge.device.runners.Runner`."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        files = set(bundle.format("litert").files.values())
        path = bundle.folder / files.pop()
        try:
            self.interpreter = lite.Interpreter(model_path=str(path), num_threads=threads)
            self.signatures = {
                (m.kind, m.batch): self.interpreter.get_signature_runner(m.name)
                for m in bundle.manifest.methods
            }
        except (RuntimeError, ValueError) as error:
            raise DfedgeError(f"{path}: litert refuses it: {error}") from error
        self.called: set[tuple[str, int]] = set()
        self.set_state(bundle.initial_state())

    def set_state(self, state: State) -> None:
        """Overwrite the whole state."""
        self.state = {name: np.array(value, order="C") for name, value in state.items()}

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        return {name: value.copy() for name, value in self.state.items()}

    def infer(self, x: NDArray[np.int8]) -> NDArray[np.int32]:
        """Scores [B, K]."""
        return self._run("infer", x=x)["scores"]

    def features(self, x: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        """What each layer's anchors see, then the latent."""
        found = self._run("features", x=x)
        return [*(found[f"features{i}"] for i in range(len(found) - 1)), found["latent"]]

    def train(
        self, x: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch."""
        found = self._run("train", x=x, y=y)
        return found["scores"], found["active"]

    def train_from(
        self, z: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch of latents."""
        found = self._run("train_from", x=z, y=y)
        return found["scores"], found["active"]

    def _run(self, kind: str, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """One call; the runner hands out copies, not views of its memory."""
        key = kind, len(inputs["x"])
        first = key not in self.called
        self.called.add(key)
        with hushed() if first else nullcontext():  # a delegate is made then, and tells of itself
            found: dict[str, NDArray[Any]] = self.signatures[key](**self.state, **inputs)
        for name in [name for name in found if name.endswith(".next")]:
            self.state[name.removesuffix(".next")] = found.pop(name)
        return found
