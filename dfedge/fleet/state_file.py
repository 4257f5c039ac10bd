"""The state file of dfedge-run, which is also what a chip keeps in flash (``native/src/store.h``).

A device without Python sends its state file, or a copy of its flash, to a gateway; the gateway
makes the delta there, and the file from which the device goes on.  Both sides are the C sources'
own store, by ctypes, over the file's bytes.
"""

import ctypes
from pathlib import Path

import msgspec
import numpy as np

from dfedge.bundle import Bundle
from dfedge.device.native import NativeRunner
from dfedge.device.store import StoredState, belonging
from dfedge.device.store.transfer import check_values
from dfedge.errors import DfedgeError
from dfedge.native.library import load
from dfedge.native.store import STORED, NetRecord, NetStore, slot_bytes
from dfedge.regular import open_file, read_bytes
from dfedge.state import check_same_layout, digest

MAGIC, PAGE = b"\x89DFS", 4096
"""How a slot begins; bytes that dfedge-run's slots are multiples of."""
OF_THIS_NET = ("program", "layout", "semantics_version")


class MediumInMemory:
    """A medium in memory; see `dfedge.native.store.Bytes`."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def read(self, at: int, count: int) -> bytes | None:
        """See `dfedge.native.store.Bytes`."""
        found = bytes(self.data[at : at + count])
        return found if len(found) == count else None

    def program(self, at: int, data: bytes) -> bool:
        """See `dfedge.native.store.Bytes`."""
        self.data[at : at + len(data)] = data
        return True

    def erase(self, at: int, count: int) -> bool:
        """See `dfedge.native.store.Bytes`."""
        self.data[at : at + count] = b"\xff" * count
        return True

    def flush(self) -> bool:
        """See `dfedge.native.store.Bytes`."""
        return True


def is_state_file(path: Path) -> bool:
    """Whether a file begins as either of two slots does.

    Raises:
        OSError: it cannot be read.
    """
    with open_file(path) as file:
        return file.read(len(MAGIC)) == MAGIC


def read_state_file(bundle: Bundle, path: Path, base: StoredState) -> StoredState:
    """What dfedge-run or a chip learned.

    The file does not say from which base it began: the one that is given is believed.

    Raises:
        DfedgeError: damaged, of another net, or with values that no step leaves.
    """
    try:
        medium = MediumInMemory(read_bytes(path))
    except OSError as error:
        raise DfedgeError(f"{path}: cannot be read ({error.strerror})") from error
    runner = NativeRunner(bundle)
    store = NetStore(medium, _slot(runner), 1)
    block = store.load() if store.open() == STORED else None
    found, own = store.found.record, _identity(bundle, runner)
    if block is None:
        raise DfedgeError(f"{path} holds no valid slot; copy it from the device again")
    if len(block) != runner.program.table.state_bytes or any(
        getattr(found, name) != getattr(own, name) for name in OF_THIS_NET
    ):
        raise DfedgeError(f"{path} was learned with another net than {bundle.folder}'s")
    runner.program.state[:] = np.frombuffer(block, np.uint8)
    state = runner.get_state()
    check_same_layout(state, bundle.initial_state(), path)
    check_values(state, path)
    record = msgspec.structs.replace(
        belonging(bundle, base.record),
        samples=int(found.samples), steps=int(found.steps), doublings=int(found.doublings),
        caution=int(found.caution), fleet_base=digest(base.state),
    )  # fmt: skip
    return StoredState(state, record)


def state_file(bundle: Bundle, stored: StoredState) -> bytes:
    """A file from which dfedge-run goes on, and a chip whose slots are as large."""
    runner = NativeRunner(bundle)
    runner.set_state(stored.state)
    medium = MediumInMemory(b"\xff" * 2 * _slot(runner))
    store, record = NetStore(medium, _slot(runner), 1), _identity(bundle, runner)
    record.samples, record.steps = stored.record.samples, stored.record.steps
    record.doublings, record.caution = stored.record.doublings, stored.record.caution
    store.open()
    if store.save(record, runner.program.state.tobytes()) != STORED:
        raise DfedgeError("the state cannot be laid out as dfedge-run's")
    return bytes(medium.data)


def _slot(runner: NativeRunner) -> int:
    return slot_bytes(runner.program.table.state_bytes, 1, PAGE)


def _identity(bundle: Bundle, runner: NativeRunner) -> NetRecord:
    """What a state of this net says of itself: of its table and its first state."""
    manifest, now = bundle.manifest, runner.get_state()
    record = NetRecord(
        bundle_version=manifest.bundle_version, semantics_version=manifest.semantics_version
    )
    record.lineage[:] = bytes.fromhex(manifest.lineage) or bytes(32)
    runner.set_state(bundle.initial_state())
    words, first = runner.program.table.words, runner.program.state
    identify = load().dfe_identify
    identify.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(NetRecord)]
    identify.restype = None
    identify(words.ctypes.data, first.ctypes.data, record)
    runner.set_state(now)
    return record
