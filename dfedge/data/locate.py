"""Where the files of a downloadable set are looked for, and what to say when they are not there."""

import gzip
import os
import zlib
from pathlib import Path

from dfedge.errors import DfedgeError
from dfedge.regular import is_file, open_file, read_bytes

MAX_UNPACKED_BYTES = 1 << 30


def search_path(data_dir: Path | None) -> list[Path]:
    """``--data-dir``, else ``$DFEDGE_DATA``, else the user's cache."""
    if data_dir is not None:
        return [data_dir]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dfedge"
    named = os.environ.get("DFEDGE_DATA")
    return [Path(named), cache] if named else [cache]


def locate(folders: list[str], files: list[str], data_dir: Path | None, how_to_get: str) -> Path:
    """The folder that holds all ``files`` (each plain or .gz).

    Args:
        folders: names that the set's own folder may have; the search directory itself counts too.
        how_to_get: one sentence for the error message.

    Raises:
        DfedgeError: no searched folder has them all.
    """
    looked = [root / name for root in search_path(data_dir) for name in [*folders, "."]]
    for folder in looked:
        if all(_variant(folder / name) for name in files):
            return folder
    raise DfedgeError(
        f"data set '{folders[0]}' was not found: looked in {', '.join(map(str, looked))} "
        f"for {', '.join(files)} (each plain or .gz). {how_to_get} "
        "Then pass --data-dir FOLDER or set DFEDGE_DATA."
    )


def _variant(path: Path) -> Path | None:
    zipped = path.with_name(path.name + ".gz")
    return path if is_file(path) else zipped if is_file(zipped) else None


def read(path: Path) -> bytes:
    """The bytes of a file, unpacked if it lies there as .gz.

    Raises:
        DfedgeError: unreadable or a broken gzip stream.
    """
    found = _variant(path) or path
    try:
        if found.suffix != ".gz":
            return read_bytes(found)
        with open_file(found) as packed, gzip.open(packed) as file:
            raw = file.read(MAX_UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DfedgeError(f"{found}: cannot be read ({error}); fetch the file again") from error
    if len(raw) > MAX_UNPACKED_BYTES:
        raise DfedgeError(f"{found}: unpacks to more than {MAX_UNPACKED_BYTES:,} bytes; not read")
    return raw
