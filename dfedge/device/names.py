"""Names of the classes that were added on this device: ``names.json`` in the state folder.

The bundle never changes, so the names of its spare rows live beside the state.  They are written
before the state that makes a row live: a name whose row is not live yet counts for nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.atomic import write_file
from dfedge.bundle import Bundle
from dfedge.errors import DfedgeError

FILE = "names.json"


class Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bundle they belong to, and the names in the order of their rows."""

    bundle_sha256: str
    added: tuple[str, ...]


def load(folder: Path, bundle: Bundle, state: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Names of the added classes whose rows the state holds live.

    Raises:
        DfedgeError: a file that cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        return ()
    try:
        names = msgspec.json.decode(path.read_bytes(), type=Names)
    except (OSError, msgspec.DecodeError) as error:
        raise DfedgeError(f"{path}: cannot be read ({error}); delete it and the state") from error
    if names.bundle_sha256 != bundle.sha256:
        return ()
    live = np.flatnonzero(state["live"])
    rows = int(live[-1]) + 1 if len(live) else 0
    return names.added[: max(0, rows - len(bundle.manifest.classes))]


def save(folder: Path, bundle: Bundle, added: tuple[str, ...]) -> None:
    """Replace what the folder holds; nothing is written where nothing was added."""
    path = folder / FILE
    if not added and not path.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_file(path, msgspec.json.encode(Names(bundle.sha256, added)))
