"""The folders of data that a user extends without touching Python: targets/ and calibrate/.

They lie at the top of the checkout and inside the package of a built wheel; a path to a .toml file
may stand wherever a shipped name may.
"""

import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from dfedge.errors import foreign, unknown_name
from dfedge.regular import is_file, read_bytes

PACKAGE = Path(__file__).parent
T = TypeVar("T")


def folder(room: str) -> Path:
    """``targets`` or ``calibrate``: the wheel's copy, else the checkout's."""
    packaged = PACKAGE / "shipped" / room
    return packaged if packaged.is_dir() else PACKAGE.parent / room


def licence() -> Path:
    """The text of dfedge's licence."""
    packaged = PACKAGE / "shipped" / "LICENSE"
    return packaged if packaged.is_file() else PACKAGE.parent / "LICENSE"


def names(room: str) -> list[str]:
    """The shipped names of a room."""
    return sorted(path.stem for path in folder(room).glob("*.toml"))


def find(home: Path, kind: str, name: str) -> Path:
    """The file of a name in ``home``, or the path that was given instead (it ends in .toml).

    Raises:
        UsageError: no such name.
    """
    if name.endswith(".toml"):
        return Path(name)
    path = home / f"{name}.toml"
    if not is_file(path):
        known = [file.stem for file in home.glob("*.toml")]
        raise unknown_name(kind, name, known, "or give the path of a .toml file")
    return path


def read(path: Path, kind: type[T], noun: str) -> T:
    """Read a TOML file into a msgspec struct.

    Raises:
        DfedgeError: not readable, no TOML, or fields that do not fit.
    """
    with foreign(path, f"a {noun}"):
        return msgspec.convert(tomllib.loads(read_bytes(path).decode()), kind)
