"""A stranger's file, opened without waiting: a pipe keeps its reader for ever, a device never ends.

What is not a regular file is an OSError, as a missing file is.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_file(path: Path) -> BinaryIO:
    """A regular file, or a link to one, open for reading.

    Raises:
        OSError: missing, unreadable, not a regular file, or a name that no system takes.
    """
    try:
        file = open(path, "rb", opener=_at_once)  # noqa: SIM115  pathlib has no opener
    except ValueError as error:  # a zero byte or half a letter in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_bytes(path: Path) -> bytes:
    """All of a regular file.

    Raises:
        OSError: as `open_file`.
    """
    with open_file(path) as file:
        return file.read()


def is_file(path: Path) -> bool:
    """Whether a regular file is there; False for a name that is too long."""
    return os.path.isfile(path)  # noqa: PTH113  pathlib's raises then


def is_folder(path: Path) -> bool:
    """Whether a folder is there; False for a name that is too long."""
    return os.path.isdir(path)  # noqa: PTH112  pathlib's raises then


def fault(path: Path, error: OSError) -> str:
    """Why a file cannot be read, by its name alone: ``no run.json``, or what else is wrong."""
    missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    return f"no {path.name}" if missing else f"{path.name}: {error.strerror}"
