"""The file system as dfedge's writers use it: few calls in one object, so that tests can fail them.

A power-loss simulator records these calls and replays them; a faulty disk raises in one of them.
Both run the very code that a device runs.
"""

import os
from pathlib import Path
from typing import BinaryIO

from dfedge.regular import read_bytes


class Disk:
    """The real one.  Every method raises OSError where the system does."""

    def write(self, path: Path, data: bytes) -> None:
        """Write a file and wait until its bytes are on the medium; its name may not be, yet."""
        with path.open("wb") as out:
            self.put(out, data)
            self.sync(out)

    def put(self, out: BinaryIO, data: bytes) -> None:
        """Hand the bytes to the system: they may still be in its cache."""
        out.write(data)
        out.flush()

    def sync(self, out: BinaryIO) -> None:
        """Wait until an open file's bytes are on the medium."""
        os.fsync(out.fileno())

    def rename(self, source: Path, target: Path) -> None:
        """Move a name, replacing what bore it."""
        os.replace(source, target)

    def sync_folder(self, folder: Path) -> None:
        """Wait until a folder's names are on the medium."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, each on the medium before the next."""
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for one in reversed(missing):  # a loop: folders may be deeper than Python's calls
            one.mkdir(exist_ok=True)
            self.sync_folder(one.parent)

    def remove(self, path: Path) -> None:
        """Drop a name, if it is there."""
        path.unlink(missing_ok=True)

    def read(self, path: Path) -> bytes:
        """A regular file's bytes."""
        return read_bytes(path)

    def names(self, folder: Path) -> list[str]:
        """What a folder holds; nothing where there is none."""
        return sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208


DISK = Disk()
