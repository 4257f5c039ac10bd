"""The compiled library by ctypes: loaded once, its structures checked, its statuses as errors."""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

from dfedge.errors import DfedgeError
from dfedge.native import build
from dfedge.native.table import ProgramTable

STATUS = (
    "done",
    "the program was made for another version of the native library; export again",
    "the program holds a size or an offset that the integer step cannot hold; export again",
    "the batch is larger than the integer step's sums can hold; use a smaller one",
    "the arena is too small; ask dfe_arena_bytes",
    "the state or the arena does not begin at a multiple of 4 bytes",
    "an input value lies outside 0..127",
    "a label is not a class of the program",
    "the state holds a value that learning can never reach; delete it to start anew",
    "the program has no such entry point",
    "a tensor holds less than the program says; export again",
    "the call is not done; go on",
    "another call is not done; go on",
)
"""What a `dfe_status` means, by number."""

POINTER, SIZE, INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32


class Buffer(ctypes.Structure):
    """``dfe_buffer``."""

    _fields_ = [("at", POINTER), ("bytes", ctypes.c_int64)]


class Buffers(ctypes.Structure):
    """``dfe_buffers``: what a call reads and writes, each with its size."""

    _fields_ = [
        (name, Buffer) for name in ("program", "state", "x", "y", "first", "second", "arena")
    ]


CALLS: dict[str, tuple[object, ...]] = {
    "dfe_check": (POINTER,),
    "dfe_check_sized": (Buffer,),
    "dfe_run_sized": (INT, ctypes.c_int64, ctypes.POINTER(Buffers)),
    "dfe_run_kept": (INT, ctypes.c_int64, ctypes.POINTER(Buffers), POINTER),
    "dfe_check_state": (POINTER, POINTER),
    "dfe_arena_bytes": (POINTER, INT, INT),
    "dfe_infer": (POINTER, POINTER, INT, POINTER, POINTER, POINTER, SIZE),
    "dfe_step": (POINTER, POINTER, INT, *(POINTER,) * 5, SIZE),
    "dfe_step_from": (POINTER, POINTER, INT, *(POINTER,) * 5, SIZE),
    "dfe_features": (POINTER, POINTER, INT, *(POINTER,) * 4, SIZE),
    "dfe_care_begin": (POINTER,),
    "dfe_learn": (POINTER, POINTER, INT, POINTER),
    "dfe_care_end": (POINTER,),
    "dfe_part_way": (POINTER, POINTER, POINTER, INT, INT),
    "dfe_layout": (POINTER,),
    "dfe_level_name": (INT,),
    "dfe_use_level": (INT,),
    "dfe_level_used": (),
}
"""Entry point -> its arguments."""

KEEPING: dict[str, tuple[object, ...]] = {
    "dfe_kept_bytes": (POINTER,),
    "dfe_keep": (POINTER, POINTER),
}
"""The same of what a microcontroller's kernels lack."""


@cache
def load() -> ctypes.CDLL:
    """The library of the package's own sources, compiled where it is not there yet.

    Raises:
        DfedgeError: it cannot be built or loaded.
    """
    return load_from(build.SOURCES)


def load_from(folder: Path) -> ctypes.CDLL:
    """As `load`, of the sources under a folder."""
    return build.opened(lambda anew: build.library(folder, anew), load_file)


@cache
def load_file(path: Path) -> ctypes.CDLL:
    """The library at a path.

    Raises:
        DfedgeError: it cannot be loaded, or lacks an entry point.
    """
    try:
        library = ctypes.CDLL(str(path))
        for name, arguments in CALLS.items():
            getattr(library, name).argtypes = arguments
        for name, arguments in KEEPING.items():
            if hasattr(library, name):
                getattr(library, name).argtypes = arguments
                getattr(library, name).restype = ctypes.c_int64 if name.endswith("bytes") else None
    except (OSError, AttributeError) as error:
        raise DfedgeError(f"{path}: is not a native library of this dfedge: {error}") from error
    library.dfe_arena_bytes.restype = ctypes.c_int64
    library.dfe_level_name.restype = ctypes.c_char_p
    library.dfe_level_used()  # chosen now, before other threads call
    return library


def check_layout(library: ctypes.CDLL, table: ProgramTable) -> None:
    """Refuse a library whose structures are not the table's.

    Raises:
        DfedgeError: with both layouts.
    """
    words = (INT * 4)()
    library.dfe_layout(words)
    if tuple(words) != table.structure_words:
        raise DfedgeError(
            f"the native library's structures are of {list(words)} words, this dfedge's of "
            f"{list(table.structure_words)}; {STATUS[1]}"
        )


def check(status: int, doing: Callable[[], str]) -> None:
    """Turn a status into an error.

    Raises:
        DfedgeError: saying what was being done and why it was refused.
    """
    if status:
        raise DfedgeError(f"{doing()}: {STATUS[status]}")


def levels(library: ctypes.CDLL) -> list[str]:
    """Names of the instruction sets that were compiled in; portable C is number 0."""
    names: list[str] = []
    while (name := library.dfe_level_name(len(names))) is not None:
        names.append(name.decode())
    return names
