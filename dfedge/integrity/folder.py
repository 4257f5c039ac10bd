"""A folder that must hold exactly the files that were listed: no link, none missing or beside."""

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from dfedge.errors import DfedgeError
from dfedge.regular import open_file

CHUNK = 1 << 20
MOST_LETTERS = 300
"""Of a path in an error."""
DEVICE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])( *\..*)?", re.IGNORECASE
)
"""Names that Windows takes for devices, with any ending."""


def check_name(name: str, where: Path) -> None:
    """Refuse a name that might lead out of the folder, on any system.

    Raises:
        DfedgeError: not a plain relative path with forward slashes.
    """
    parts = PurePosixPath(name).parts
    plain = bool(parts) and "/".join(parts) == name and not set(parts) & {"", ".", "..", "/"}
    if not plain or len(name) > 255 or any(c in '\\:\0<>|?*"' or c < " " for c in name):
        raise DfedgeError(f"{where}: file name {name[:80]!r} is not a plain path inside the folder")
    for part in parts:
        if part[-1] in ". " or DEVICE.fullmatch(part) or unicodedata.normalize("NFC", part) != part:
            raise DfedgeError(
                f"{where}: file name {name[:80]!r} means something else on Windows or macOS; "
                "export the bundle with another name for it"
            )


def check_folder(
    folder: Path, files: Mapping[str, tuple[int, str]], beside: frozenset[str], remedy: str
) -> None:
    """Compare a folder with a list of its files.

    Args:
        files: relative path -> bytes and SHA-256.
        beside: names that may be there and are not of the list.
        remedy: what to do next, for the error.

    Raises:
        DfedgeError: the first file that is missing, unknown, a link, or not as it was listed.
    """
    for name in files:
        check_name(name, folder)
    _check_twins(files, folder, remedy)
    found = dict(_walk(folder, remedy))
    for name, (size, sha256) in files.items():
        if name not in found:
            raise DfedgeError(f"{folder}: file {name} is missing; {remedy}")
        if found[name] != size or hash_file(folder / name) != sha256:
            raise DfedgeError(
                f"{folder / name}: changed since export (its SHA-256 is not the manifest's); "
                f"{remedy}"
            )
    unknown = sorted(found.keys() - files.keys() - beside)
    if unknown:
        name = unknown[0][:MOST_LETTERS]
        raise DfedgeError(f"{folder}: file {name} is not in its manifest; remove it, or {remedy}")


def _check_twins(names: Iterable[str], where: Path, remedy: str) -> None:
    """Refuse two names that differ in capitals alone: they are one on Windows and macOS."""
    folders = {str(above) for name in names for above in PurePosixPath(name).parents}
    found: dict[str, str] = {}
    for name in (*names, *folders):
        other = found.setdefault(name.casefold(), name)
        if other != name:
            raise DfedgeError(
                f"{where}: {other[:80]!r} and {name[:80]!r} are one file on Windows and macOS; "
                f"{remedy}"
            )


def hash_file(path: Path) -> str:
    """SHA-256 of a file, read in parts.

    Raises:
        DfedgeError: unreadable.
    """
    sha = hashlib.sha256()
    try:
        with open_file(path) as file:
            while part := file.read(CHUNK):
                sha.update(part)
    except OSError as error:
        raise DfedgeError(f"{path}: cannot be read ({error.strerror})") from error
    return sha.hexdigest()


def _walk(folder: Path, remedy: str) -> Iterator[tuple[str, int]]:
    """Relative path and size of every file below."""
    waiting = [""]  # a list: folders may be deeper than Python's calls
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(folder / prefix) as entries:
                found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        except OSError as error:
            where = str(folder / prefix)[:MOST_LETTERS]
            raise DfedgeError(f"{where}: cannot be read ({error.strerror}); {remedy}") from error
        for name, about in sorted(found, key=lambda one: one[0]):
            if stat.S_ISDIR(about.st_mode):
                waiting.append(f"{prefix}{name}/")
            elif stat.S_ISREG(about.st_mode):
                yield prefix + name, about.st_size
            else:
                raise DfedgeError(
                    f"{folder / prefix / name}: links and special files are not allowed in a "
                    f"bundle; {remedy}"
                )
