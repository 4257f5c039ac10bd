"""The store of ``src/store.h`` by ctypes, over a medium in Python, whose power its tests cut."""

import ctypes
from functools import cache
from typing import Protocol

from dfedge.native.library import load

STORED, EMPTY, DAMAGED, NEWER, FAILED, MISFIT, FOREIGN, CLOSED, BUSY = range(9)
"""``enum dfe_store_status``."""
SLOT_EMPTY, SLOT_DAMAGED, SLOT_NEWER, SLOT_WHOLE = range(4)
"""``enum dfe_slot_kind``."""
OWN, ANOTHER_PROGRAM, ANOTHER_LAYOUT, ANOTHER_LINEAGE, ROLLED_BACK = range(5)
"""``enum dfe_belonging``."""
HEADER, COMMIT, ROOM = 128, 8, 128

WORD, AT = ctypes.c_uint32, ctypes.c_void_p
READ = ctypes.CFUNCTYPE(ctypes.c_int, AT, WORD, AT, WORD)
ERASE = ctypes.CFUNCTYPE(ctypes.c_int, AT, WORD, WORD)
FLUSH = ctypes.CFUNCTYPE(ctypes.c_int, AT)


class Medium(ctypes.Structure):
    """``dfe_medium``."""

    _fields_ = [
        ("read", READ), ("program", READ), ("erase", ERASE), ("flush", FLUSH), ("context", AT),
        ("slot_bytes", WORD), ("unit", WORD), ("room", AT), ("room_bytes", WORD),
    ]  # fmt: skip


class NetRecord(ctypes.Structure):
    """``dfe_record``."""

    _fields_ = [
        ("program", WORD),
        ("layout", WORD),
        ("lineage", ctypes.c_uint8 * 32),
        ("bundle_version", WORD),
        ("semantics_version", WORD),
        ("steps", ctypes.c_uint64),
        ("samples", ctypes.c_uint64),
        ("doublings", ctypes.c_int32),
        ("caution", ctypes.c_int32),
    ]


class Slots(ctypes.Structure):
    """``dfe_store``."""

    _fields_ = [
        ("medium", Medium),
        ("newest", ctypes.c_int32),
        ("kinds", ctypes.c_int32 * 2),
        ("sequence", WORD),
        ("state_bytes", WORD),
        ("record", NetRecord),
    ]


class SlotMedium(Protocol):
    """A medium; each method but `read` says whether it was done."""

    def read(self, at: int, count: int) -> bytes | None:
        """Bytes, or None where they cannot be read."""

    def program(self, at: int, data: bytes) -> bool:
        """Program what was erased."""

    def erase(self, at: int, count: int) -> bool:
        """To FF."""

    def flush(self) -> bool:
        """Wait until all that was programmed survives a loss of power."""


@cache
def _library() -> ctypes.CDLL:
    library = load()
    slots = ctypes.POINTER(Slots)
    library.dfe_store_open.argtypes = [slots]
    library.dfe_store_load.argtypes = [slots, AT, WORD]
    library.dfe_store_save.argtypes = [slots, ctypes.POINTER(NetRecord), AT, WORD]
    return library


def slot_bytes(state_bytes: int, unit: int, sector: int = 1) -> int:
    """Of a slot that holds so large a state, in whole sectors."""

    def up(count: int, to: int) -> int:
        return -(-count // to) * to

    return up(up(HEADER + state_bytes, unit) + up(COMMIT, unit), sector)


class NetStore:
    """Two slots over a medium.

    Attributes:
        found: the structure, as the last call left it.
    """

    def __init__(self, medium: SlotMedium, slot_bytes: int, unit: int) -> None:
        self.room = ctypes.create_string_buffer(ROOM)

        def read(_: object, at: int, into: int, count: int) -> int:
            found = medium.read(at, count)
            if found is None:
                return 1
            ctypes.memmove(into, found, count)
            return 0

        def program(_: object, at: int, source: int, count: int) -> int:
            return not medium.program(at, ctypes.string_at(source, count))

        def erase(_: object, at: int, count: int) -> int:
            return not medium.erase(at, count)

        def flush(_: object) -> int:
            return not medium.flush()

        calls = READ(read), READ(program), ERASE(erase), FLUSH(flush)
        room = ctypes.addressof(self.room)
        self.found = Slots(Medium(*calls, None, slot_bytes, unit, room, ROOM))

    def open(self) -> int:
        """A status."""
        status: int = _library().dfe_store_open(self.found)
        return status

    def load(self) -> bytes | None:
        """The newest state; None where it cannot be read."""
        size = self.found.state_bytes
        state = ctypes.create_string_buffer(size)
        done = _library().dfe_store_load(self.found, state, size) == STORED
        return state.raw if done else None

    def save(self, record: NetRecord, state: bytes) -> int:
        """A status."""
        status: int = _library().dfe_store_save(self.found, record, state, len(state))
        return status
