"""Deltas as files: read from the paths of a command, and told of."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from dfedge.errors import DfedgeError
from dfedge.fleet.delta import DamagedDeltaError, decode
from dfedge.regular import open_file

SUFFIX = ".delta"
MOST_FILE_BYTES = 1 << 28


class Told(msgspec.Struct, frozen=True):
    """What a delta says of itself; ``fault``: why it says nothing.

    Attributes:
        changed: of the values that travel, the fraction that learning moved.
        largest: difference.
    """

    file: str
    bytes: int
    fault: str = ""
    device: str = ""
    base_sha256: str = ""
    bundle_sha256: str = ""
    samples: int = 0
    steps: int = 0
    new: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    values: int = 0
    changed: float = 0.0
    largest: int = 0


def read_deltas(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file; of a folder, of every ``*.delta`` in it.

    Raises:
        DfedgeError: a file that cannot be read, or a folder without any.
    """
    for path in paths:
        inside = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not inside:
            raise DfedgeError(f"{path}: no file *{SUFFIX}; make one with: dfedge fleet delta")
        for one in inside:
            try:
                with open_file(one) as file:
                    yield str(one), file.read(MOST_FILE_BYTES)
            except OSError as error:
                raise DfedgeError(f"{one}: cannot be read ({error.strerror})") from error


def told(name: str, raw: bytes) -> Told:
    """What a file holds; nothing is compared with a base."""
    try:
        delta = decode(raw)
    except DamagedDeltaError as error:
        return Told(name, len(raw), str(error))
    header = delta.header
    flat = np.concatenate(
        [move.reshape(-1) for move in delta.moves.values()] or [np.zeros(0, np.int16)]
    )
    return Told(
        name,
        len(raw),
        device=header.device,
        base_sha256=header.base_sha256,
        bundle_sha256=header.bundle_sha256,
        samples=header.samples,
        steps=header.steps,
        new=header.new,
        parts=tuple(part.name for part in header.parts),
        values=flat.size,
        changed=round(float((flat != 0).mean()), 4) if flat.size else 0.0,
        largest=int(np.abs(flat).max()) if flat.size else 0,
    )
