"""State of version 1: one safetensors file, read once and then replaced by slots."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dfedge.device.store.exchange import parse
from dfedge.device.store.record import Record
from dfedge.disk import Disk

FILE = "state.safetensors"


def read(folder: Path, disk: Disk) -> tuple[dict[str, NDArray[Any]], Record] | None:
    """What the file holds; None where there is none.

    Raises:
        DfedgeError: a damaged file.
    """
    path = folder / FILE
    try:
        raw = disk.read(path)
    except FileNotFoundError:
        return None
    return parse(raw, path)
