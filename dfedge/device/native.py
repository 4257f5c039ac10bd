"""The native interpreter: a bundle's plan and state, with no program file and no runtime package.

It runs every bundle, whatever it was exported to, and takes any batch size.  The runtime ``c`` is
the same over the sources, the table and the first state in the bundle's own folder ``c``: what a
device is given.
"""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.confidence import unsure_below
from dfedge.errors import DfedgeError
from dfedge.native import folder as files
from dfedge.native.header import NetSources
from dfedge.native.image import Identity
from dfedge.native.library import load, load_from
from dfedge.native.naming import check_prefix
from dfedge.native.program import NativeProgram
from dfedge.native.table import ProgramTable, make_table
from dfedge.state import State


def table_of(bundle: Bundle, state: State) -> ProgramTable:
    """A bundle's plan as the interpreter reads it, the state's tensors in the manifest's order.

    Raises:
        DfedgeError: constants that are not those of the plan's trunk.
    """
    manifest = bundle.manifest
    tensors = {name: state[name] for name in manifest.state_names}
    return make_table(manifest.plan, tensors, bundle.constants())


class NativeRunner:
    """See `dfedge.device.runners.Runner`; any batch size.

    Threads share the samples of a batch, but for a step: one begins at a frozen trunk's latents,
    which they share, and learns alone.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        initial = bundle.initial_state()
        table = table_of(bundle, initial)
        self.program = NativeProgram(bundle.manifest.plan, table, self.library(bundle), threads)
        self.set_state(initial)

    @staticmethod
    def library(bundle: Bundle) -> ctypes.CDLL:
        """What computes."""
        return load()

    def set_state(self, state: State) -> None:
        """Overwrite the whole state."""
        self.program.write(dict(state))

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        return self.program.read()

    def infer(self, x: NDArray[np.int8]) -> NDArray[np.int32]:
        """Scores [B, K]."""
        return self.program.infer(x)

    def features(self, x: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        """What each layer's anchors see, then the latent."""
        return self.program.features(x)

    def train(
        self, x: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch."""
        return self.program.train(x, y)

    def train_from(
        self, z: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch of latents."""
        return self.program.train(z, y, latent=True)


class ExportedRunner(NativeRunner):
    """The same over what the bundle's folder ``c`` holds, compiled here.

    Foreign code is never compiled: every source must be what this dfedge would write itself.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        super().__init__(bundle, threads)
        library, table = self.program.library, self.program.table
        prefix = _place(bundle).stem
        program, state, reset = (
            getattr(library, f"{prefix}_{call}") for call in ("program", "state", "reset")
        )
        program.restype = state.restype = ctypes.c_void_p
        reset()
        words = table.words
        same = ctypes.string_at(program(), words.nbytes) == words.tobytes()
        first = ctypes.string_at(state(), table.state_bytes)
        if not same or first != self.program.state.tobytes():
            raise DfedgeError(f"{bundle.folder}/c: its tables are not the manifest's; export again")

    @staticmethod
    def library(bundle: Bundle) -> ctypes.CDLL:
        """The bundle's own."""
        folder = _place(bundle).parent
        wrong = files.differing(folder, files.compiled(net_of(bundle), files.is_small(folder)))
        if wrong is not None:
            raise DfedgeError(
                f"{folder / wrong}: not what this dfedge would write, so it is not compiled; "
                "export again, or choose --runtime native"
            )
        return load_from(folder)


def net_of(bundle: Bundle) -> NetSources:
    """What the folder ``c`` of a bundle is written of.

    Raises:
        UsageError: its prefix is none.
    """
    manifest, record, place = bundle.manifest, bundle.format("c"), _place(bundle)
    check_prefix(place.stem)
    state = bundle.initial_state()
    called = [m for m in manifest.methods if m.kind in ("infer", "train")]
    return NetSources(
        shape=manifest.plan.input_shape,
        table=table_of(bundle, state),
        state=state,
        classes=manifest.classes,
        batch=max(method.batch for method in called),
        arena_bytes=max(record.memory[method.name].arena_bytes for method in called),
        identity=Identity(manifest.lineage, manifest.bundle_version, manifest.semantics_version),
        unsure_below=unsure_below(manifest.temperature),
        input=manifest.input.in_c(),
        prefix=place.stem,
        binary=files.is_binary(place.parent, place.stem),
    )


def _place(bundle: Bundle) -> Path:
    """The net's own source, which every method is in."""
    return bundle.folder / next(iter(bundle.format("c").files.values()))
