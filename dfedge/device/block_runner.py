"""What the native rendering asks of every runtime: one block of state, every method one call."""

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.calls import CallRunner
from dfedge.device.native import table_of
from dfedge.errors import DfedgeError
from dfedge.native.glue import Glue
from dfedge.native.program import NativeProgram
from dfedge.native.table import ABI, ABI_NAME
from dfedge.state import State


def check_abi(bundle: Bundle, format: str) -> None:
    """Refuse programs that were made for another version of the library.

    Raises:
        UsageError: no such programs.
        DfedgeError: with both versions.
    """
    found = bundle.format(format).versions.get(ABI_NAME)
    if found != str(ABI):
        raise DfedgeError(
            f"{bundle.folder}: its {format} programs are for version {found} of the native "
            f"library, this dfedge has {ABI}; export again, or choose the stock rendering"
        )


class BlockRunner(CallRunner):
    """See `dfedge.device.runners.Runner`.

    Attributes:
        glue: the library of operations.
        program: knows where each tensor lies in the block; it runs nothing.
    """

    def __init__(self, bundle: Bundle, glue: Glue) -> None:
        self.glue = glue
        initial = bundle.initial_state()
        self.program = NativeProgram(bundle.manifest.plan, table_of(bundle, initial))
        self.set_state(initial)

    @abstractmethod
    def write(self, block: NDArray[np.uint8]) -> None:
        """Overwrite the block."""

    @abstractmethod
    def read(self) -> NDArray[np.uint8]:
        """The block as it is."""

    def set_state(self, state: State) -> None:
        """Overwrite the whole state.

        Raises:
            DfedgeError: a value that learning can never reach; the state is as it was.
        """
        self.write(self.program.checked(dict(state)))

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        return self.program.read(self.read())

    def features(self, x: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        """What each layer's anchors see, then the latent."""
        seen, latent = self.call("features", x)
        shape = len(x), *self.program.plan.latent_shape
        return [*self.program.by_layer(seen, len(x)), latent.reshape(shape)]
