"""Objects of the C library, each kept for what it was made of.

Every exported folder holds the same kernels: they are compiled once for this processor, and after
that only what a net adds is.  What is found in the cache counts as a library does
(`dfedge.native.cache`).
"""

import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dfedge.native import cache

AT_ONCE = min(os.cpu_count() or 1, 8)
"""Compilers that run side by side, at most."""
INCLUDE = re.compile(rb'^\s*#\s*include\s*(?:"([^"]+)"|[^"<\s])', re.MULTILINE)
"""A header of ours by its name, or, of no name, one that only the preprocessor could name."""


class RefusedError(Exception):
    """What the compiler says."""


def made(
    command: list[str], sources: list[Path], files: list[Path], processor: str, anew: bool
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
    folder = cache.folder("objects")
    words = [word for word in command if word != "-shared"]

    def one(source: Path) -> Path:
        place = folder / f"{cache.key([*words, processor], _read(source, files))}.o"
        if anew or not cache.whole(place):
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                found = Path(scratch) / place.name
                run([*words, "-c", "-o", str(found), str(source)])
                cache.keep(place, found.read_bytes())
        return place

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, sources))


def run(words: list[str], folder: Path | None = None) -> None:
    """Run a compiler, in a folder where one is given.

    Raises:
        RefusedError: it ends with an error.
    """
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise RefusedError(done.stderr.strip())


def _read(source: Path, files: list[Path]) -> list[Path]:
    """A source and every file that it includes, through others as well."""
    found = [source]
    for path in found:  # which grows
        for name in INCLUDE.findall(path.read_bytes()):
            named = [one for one in files if not name or one.name == Path(os.fsdecode(name)).name]
            found += [one for one in named if one not in found]
    return found
