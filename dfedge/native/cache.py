"""Where compiled libraries are kept, and whether what lies there may be loaded.

    $XDG_CACHE_HOME/dfedge/native/KEY/libdfedge.so            ~/.cache where the variable is not set
    $XDG_CACHE_HOME/dfedge/native/KEY/libdfedge.so.sha256

What is loaded runs with all that this account may do.  So a library counts only where no other
account could have written it: the folders are made for the owner alone, and every one above them is
looked at.  And it counts only if it is what was compiled: a library that power cut short while it
was written is compiled anew.
"""

import hashlib
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dfedge.atomic import write_file
from dfedge.disk import DISK, Disk
from dfedge.errors import DfedgeError

OWN = 0o700
"""Of a folder that is made here."""
OTHERS = stat.S_IWGRP | stat.S_IWOTH
ELSEWHERE = "or set $XDG_CACHE_HOME to a folder of your own"


def root() -> Path:
    """The folder of all compiled libraries.

    Raises:
        DfedgeError: this account has no home.
    """
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        above = Path(given) if given else Path.home() / ".cache"
    except RuntimeError as error:
        raise DfedgeError(
            f"no folder for compiled libraries ({error}); set $XDG_CACHE_HOME"
        ) from error
    return above / "dfedge" / "native"


def key(words: Iterable[str], files: Iterable[Path]) -> str:
    """What is made of files by a command, in 24 digits: other words, names or contents, another
    key.
    """
    found = hashlib.sha256("\0".join(words).encode())
    for path in files:
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:24]


def folder(key: str) -> Path:
    """A library's folder, made where it is not there; all links on its way are followed here.

    Raises:
        DfedgeError: another account could change what lies there, or it cannot be made.
    """
    place = Path(os.path.realpath(root() / key))
    for part in (*reversed(place.parents), place):
        try:
            found = _found(part)
        except OSError as error:
            raise unwritable(place, error) from error
        _check(part, found, holds=part == place)
    return place


def whole(place: Path, disk: Disk = DISK) -> bool:
    """Whether a library is there, of a trusted owner, and has the SHA-256 that lies beside it."""
    try:
        found = place.lstat()
        data, wanted = disk.read(place), disk.read(_beside(place))
    except OSError:
        return False
    safe = stat.S_ISREG(found.st_mode) and not found.st_mode & OTHERS and found.st_uid in _trusted()
    return safe and hashlib.sha256(data).hexdigest().encode() == wanted


def keep(place: Path, data: bytes, disk: Disk = DISK) -> None:
    """Write a library and its SHA-256, both flushed to the medium.

    Raises:
        OSError: one cannot be written.
    """
    for path, content in (
        (_beside(place), hashlib.sha256(data).hexdigest().encode()),
        (place, data),
    ):
        write_file(path, content, disk)
        path.chmod(OWN)  # whatever the umask: see `whole`


def unwritable(place: Path, error: OSError) -> DfedgeError:
    """What to say where the system refuses to write."""
    return DfedgeError(f"{place}: cannot be written ({error}); set $XDG_CACHE_HOME")


def _beside(place: Path) -> Path:
    return place.with_name(f"{place.name}.sha256")


def _found(part: Path) -> os.stat_result:
    try:
        return part.lstat()
    except FileNotFoundError:
        with suppress(FileExistsError):  # another process was first
            part.mkdir(OWN)
        return part.lstat()


def _trusted() -> set[int]:
    """This account and the system's, which need not be called 0 in a user namespace: it owns /."""
    return {os.geteuid(), 0, Path("/").stat().st_uid}


def _check(part: Path, found: os.stat_result, holds: bool) -> None:
    """Refuse a folder through which another account could bring in a library.

    Args:
        holds: the library lies in it; else it is on the way there.

    Raises:
        DfedgeError: saying what is wrong with it and what to do.
    """
    mode = stat.S_IMODE(found.st_mode)
    start = f"compiled libraries are neither kept in nor loaded from {root()}, because {part}"
    if not stat.S_ISDIR(found.st_mode):
        raise DfedgeError(f"{start} is not a folder; remove it, {ELSEWHERE}")
    if found.st_uid not in _trusted():
        raise DfedgeError(
            f"{start} belongs to user {found.st_uid}, this process is user {os.geteuid()}; "
            f"{ELSEWHERE.removeprefix('or ')}"
        )
    # In a folder with the sticky bit (as /tmp) nobody replaces what another owns.
    if mode & OTHERS and (holds or not mode & stat.S_ISVTX):
        remedy = f"remove it (rm -r {part})" if holds else f"chmod go-w {part}"
        raise DfedgeError(
            f"{start} may be changed by others (mode {mode:o}); {remedy}, {ELSEWHERE}"
        )
