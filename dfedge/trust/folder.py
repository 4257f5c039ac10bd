"""A folder that must hold exactly the files that were listed: no link, none missing or beside."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from dfedge.errors import DfedgeError

CHUNK = 1 << 20


def check_name(name: str, where: Path) -> None:
    """Refuse a name that might lead out of the folder, on any system.

    Raises:
        DfedgeError: not a plain relative path with forward slashes.
    """
    parts = PurePosixPath(name).parts
    plain = bool(parts) and "/".join(parts) == name and not set(parts) & {"", ".", "..", "/"}
    if not plain or len(name) > 255 or any(c in '\\:\0<>|?*"' or c < " " for c in name):
        raise DfedgeError(f"{where}: file name {name[:80]!r} is no plain path inside the folder")


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
        raise DfedgeError(
            f"{folder}: file {unknown[0]} is not in its manifest; remove it, or {remedy}"
        )


def hash_file(path: Path) -> str:
    """SHA-256 of a file, read in parts.

    Raises:
        DfedgeError: unreadable.
    """
    sha = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(CHUNK):
                sha.update(part)
    except OSError as error:
        raise DfedgeError(f"{path}: cannot be read ({error.strerror})") from error
    return sha.hexdigest()


def _walk(folder: Path, remedy: str, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Relative path and size of every file below."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        for entry in entries:
            about = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(about.st_mode):
                yield from _walk(folder / entry.name, remedy, f"{prefix}{entry.name}/")
            elif stat.S_ISREG(about.st_mode):
                yield prefix + entry.name, about.st_size
            else:
                raise DfedgeError(
                    f"{folder / entry.name}: a link or a special file has no place in a bundle; "
                    f"{remedy}"
                )
    except OSError as error:
        raise DfedgeError(f"{folder}: cannot be read ({error.strerror})") from error
