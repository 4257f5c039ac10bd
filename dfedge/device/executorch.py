"""ExecuTorch: one program whose methods share one mutable state.

Loading a method resets the shared state to its stored value, so all are loaded before the state is
set.  ExecuTorch's Python package brings torch with it, for tensors only: nothing here computes.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.calls import CallRunner
from dfedge.errors import DfedgeError
from dfedge.quiet import hushed, quiet
from dfedge.state import State

with quiet():  # its import tells of torchao's missing GPU libraries
    import executorch.kernels.quantized  # noqa: F401  registers the int8 kernels
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime, Verification


def use_threads(count: int) -> None:
    """Of ExecuTorch's thread pool, which all programs of a process share."""
    with hushed():  # the pool reads what this processor is, and tells of it
        if portable_lib._threadpool_get_thread_count() != count:
            portable_lib._unsafe_reset_threadpool(count)


class ExecuTorchRunner(CallRunner):
    """See `dfedge.device.runners.Runner`."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        use_threads(threads)
        (file,) = set(bundle.format("executorch").files.values())
        path = bundle.folder / file
        try:
            program = Runtime.get().load_program(path, verification=Verification.Minimal)
            self.methods = {name: program.load_method(name) for name in program.method_names}
        except RuntimeError as error:
            raise DfedgeError(f"{path}: executorch refuses it: {error}") from error
        self.calls = {(m.kind, m.batch): self.methods[m.name] for m in bundle.manifest.methods}
        self.names = bundle.manifest.state_names
        self.set_state(bundle.initial_state())

    def set_state(self, state: State) -> None:
        """Overwrite the whole state."""
        self.methods["set_state"].execute([to_tensor(state[name]) for name in self.names])

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        values = self.methods["get_state"].execute([])
        return {name: v.numpy().copy() for name, v in zip(self.names, values, strict=True)}

    def call(self, kind: str, x: NDArray[np.int8], *y: NDArray[np.int32]) -> list[NDArray[Any]]:
        """Run a method; copies of its results."""
        results = self.calls[kind, len(x)].execute([to_tensor(x), *map(to_tensor, y)])
        return [value.numpy().copy() for value in results]


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """A copy, which torch wants to be writable."""
    return torch.from_numpy(np.array(array, order="C"))
