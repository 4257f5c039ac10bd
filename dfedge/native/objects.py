"""Objects of the C library, each kept for what it was made of.

Every exported folder holds the same kernels: they are compiled once for this processor, and after
that only what a net adds is.  What is found in the cache counts as a library does
(`dfedge.native.cache`).
"""

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dfedge.native import cache

AT_ONCE = min(os.cpu_count() or 1, 8)
"""Compilers that run side by side, at most."""
INCLUDE = re.compile(rb'^\s*#\s*include\s+(?:"([^"]+)"|<[^>]+>|(.))', re.MULTILINE)
"""A header of ours, of the system, or one that only the preprocessor could name."""


class RefusedError(Exception):
    """What the compiler says."""


def made(
    command: Sequence[str],
    sources: Iterable[Path],
    files: Iterable[Path],
    processor: str,
    anew: bool,
) -> list[Path]:
    """Compile sources that have no object in the cache, `AT_ONCE` at a time.

    Args:
        command: the compiler and its options; ``-shared`` is left out.
        files: among which headers are found, by name.
        processor: for which they are compiled, in words.
        anew: whatever the cache has.

    Raises:
        RefusedError: the compiler refuses one.
        DfedgeError: the cache is not safe (`cache.folder`).
        OSError: one cannot be written.
    """
    folder, headers = cache.folder("objects"), {path.name: path for path in files}
    words = [word for word in command if word != "-shared"]

    def one(source: Path) -> Path:
        key = hashlib.sha256("\0".join([*words, processor]).encode())
        for path in _read(source, headers):
            key.update(path.name.encode() + b"\0" + path.read_bytes())
        place = folder / f"{key.hexdigest()[:24]}.o"
        if anew or not cache.whole(place):
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                found = Path(scratch) / place.name
                run([*words, "-c", "-o", str(found), str(source)])
                cache.keep(place, found.read_bytes())
        return place

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, sources))


def run(words: Sequence[str]) -> None:
    """Run a compiler.

    Raises:
        RefusedError: it ends with an error.
    """
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(done.stderr.strip())


def _read(source: Path, headers: dict[str, Path]) -> Iterator[Path]:
    """A source and every header that it includes, through others as well."""
    seen, left = set[Path](), [source]
    while left:
        path = left.pop(0)
        if path in seen:
            continue
        seen.add(path)
        yield path
        for ours, unknown in INCLUDE.findall(path.read_bytes()):
            names = headers if unknown else [Path(os.fsdecode(ours)).name] if ours else []
            left += [headers[name] for name in names if name in headers]
