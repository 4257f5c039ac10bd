"""Files and folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dfedge.disk import DISK, Disk


def write_file(path: Path, data: bytes, disk: Disk = DISK) -> None:
    """Replace a file's contents: written beside it, flushed to the medium, renamed over it.

    When it returns, a loss of power cannot undo it; when it raises, the old contents are there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        disk.write(temporary, data)
        disk.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            disk.remove(temporary)
        raise
    disk.sync_folder(path.parent)


def write_out(path: Path, data: bytes) -> None:
    """`write_file`, of a path that a person gave: its folder is made where there is none."""
    DISK.make_folder(path.parent)
    write_file(path, data)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes ``path``'s place when the block ends well, else vanishes."""
    DISK.make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    DISK.sync_folder(path.parent)
