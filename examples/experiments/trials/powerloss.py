"""Power loss, simulated: what a medium may hold after it, for every instant of a recorded run.

A killed process proves little, because the system's cache outlives it.  Here every call of the
store on its disk is recorded.  For each prefix of the recording, what was not yet flushed may have
reached the medium whole, not at all, or up to any sector of 512 bytes (with or without zeros up to
the file's length); folder entries that were not yet flushed may be there or not.  The store opens
each of these folders and must find the last acknowledged save, or a newer one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path
from typing import BinaryIO

from dfedge.disk import Disk

SECTOR = 512
FEW = 3
"""Of so many pending folder entries any subset may survive; of more a prefix, as in a journal."""


@dataclass(frozen=True)
class Event:
    """One call on the disk: create, put, sync, rename, sync_folder, make_folder, remove; or ack."""

    kind: str
    path: Path
    target: Path | None = None
    data: bytes = b""
    ack: int = 0


class Recorder(Disk):
    """A real disk that keeps a list of what was asked of it."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def acknowledge(self, folder: Path, number: int) -> None:
        """Note that a save returned."""
        self.events.append(Event("ack", folder, ack=number))

    def write(self, path: Path, data: bytes) -> None:
        """Recorded."""
        self.events.append(Event("create", path))
        super().write(path, data)

    def put(self, out: BinaryIO, data: bytes) -> None:
        """Recorded."""
        self.events.append(Event("put", Path(out.name), data=data))
        super().put(out, data)

    def sync(self, out: BinaryIO) -> None:
        """Recorded."""
        super().sync(out)
        self.events.append(Event("sync", Path(out.name)))

    def rename(self, source: Path, target: Path) -> None:
        """Recorded."""
        super().rename(source, target)
        self.events.append(Event("rename", source, target))

    def sync_folder(self, folder: Path) -> None:
        """Recorded."""
        super().sync_folder(folder)
        self.events.append(Event("sync_folder", folder))

    def make_folder(self, folder: Path) -> None:
        """Recorded."""
        if not folder.exists():
            self.events.append(Event("make_folder", folder))
        super().make_folder(folder)

    def remove(self, path: Path) -> None:
        """Recorded."""
        super().remove(path)
        self.events.append(Event("remove", path))


class Image(Disk):
    """What is found after the power came back: path -> bytes."""

    def __init__(self, files: dict[Path, bytes]) -> None:
        self.files = files

    def read(self, path: Path) -> bytes:
        """A file's bytes."""
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def names(self, folder: Path) -> list[str]:
        """What the folder holds."""
        return sorted(path.name for path in self.files if path.parent == folder)


@dataclass(eq=False)
class _File:
    cache: bytes = b""
    medium: bytes = b""
    dirty: bool = False


Names = dict[Path, _File | None]
"""A path's file; None is a folder."""


@dataclass
class _Medium:
    cache: Names = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    pending: list[Event] = field(default_factory=list)
    made: dict[int, _File | None] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        if event.kind == "put":
            file = self.cache[event.path]
            assert file is not None
            file.cache, file.dirty = event.data, True
        elif event.kind == "sync":
            file = self.cache[event.path]
            assert file is not None
            file.medium, file.dirty = file.cache, False
        elif event.kind == "sync_folder":
            kept = []
            for entry in self.pending:
                if entry.path.parent == event.path:
                    self._enter(self.names, entry)
                else:
                    kept.append(entry)
            self.pending = kept
        elif event.kind in ("create", "make_folder", "rename", "remove"):
            if event.kind in ("create", "make_folder"):
                self.made[id(event)] = _File() if event.kind == "create" else None
            self._enter(self.cache, event)
            self.pending.append(event)

    def _enter(self, names: Names, event: Event) -> None:
        if event.kind == "rename":
            assert event.target is not None
            if event.path in names:
                names[event.target] = names.pop(event.path)
        elif event.kind == "remove":
            names.pop(event.path, None)
        else:
            names[event.path] = self.made[id(event)]

    def images(self, root: Path) -> Iterator[dict[Path, bytes]]:
        """Every folder that may be found, were the power lost now."""
        for survived in _survivors(self.pending):
            names = dict(self.names)
            for event in survived:
                self._enter(names, event)
            whole = {
                path: file
                for path, file in names.items()
                if file is not None and (path.parent == root or path.parent in names)
            }
            dirty = [path for path, file in whole.items() if file.dirty]
            settled = {path: file.medium for path, file in whole.items() if not file.dirty}
            if not dirty:
                yield settled
            for path in dirty:  # at most one in the store: it flushes each file it writes
                file = whole[path]
                others = {p: whole[p].cache for p in dirty if p != path}
                for content in _torn(file):
                    yield settled | others | {path: content}


def _survivors(pending: Sequence[Event]) -> Iterator[Sequence[Event]]:
    if len(pending) <= FEW:
        return chain.from_iterable(combinations(pending, n) for n in range(len(pending) + 1))
    return (pending[:n] for n in range(len(pending) + 1))


def _torn(file: _File) -> Iterator[bytes]:
    yield file.medium
    yield file.cache
    for end in range(SECTOR, len(file.cache), SECTOR):
        yield file.cache[:end]
        yield file.cache[:end] + bytes(len(file.cache) - end)


@dataclass
class Losses:
    """What was tried and found.

    Attributes:
        events: calls recorded.
        cases: folders that were opened.
        lost: those in which the last acknowledged save, or a newer one, was not found.
    """

    events: int = 0
    cases: int = 0
    lost: int = 0


def lose_power(events: list[Event], root: Path, opens: Callable[[Image], int]) -> Losses:
    """Open what may be left after every prefix of the recording.

    Args:
        root: the folder that was there before.
        opens: opens an image; the number of the save it found whole (0: none yet, -1: refused).
    """
    medium, acknowledged, found = _Medium(), 0, Losses()
    for event in events:
        found.events += 1
        medium.take(event)
        acknowledged = event.ack or acknowledged
        for files in medium.images(root):
            found.cases += 1
            found.lost += opens(Image(files)) < acknowledged
    return found
