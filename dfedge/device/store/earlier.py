"""State of version 1: one safetensors file, read once and then replaced by slots."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dfedge.device.store.exchange import parse
from dfedge.device.store.record import StateRecord
from dfedge.disk import Disk
from dfedge.errors import DfedgeError

FILE = "state.safetensors"


def read(folder: Path, disk: Disk) -> tuple[dict[str, NDArray[Any]], StateRecord] | None:
    """What the file holds; None where there is none.

    Raises:
        DfedgeError: a damaged file, or one that cannot be read.
    """
    path = folder / FILE
    try:
        raw = disk.read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DfedgeError(
            f"{path}: cannot be read as a state ({error.strerror}); 'dfedge state reset' removes it"
        ) from error
    return parse(raw, path)
