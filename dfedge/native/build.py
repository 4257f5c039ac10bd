"""The C library, compiled on the machine that runs it, at first use, into the user's cache.

Not at install: so `pip install dfedge` needs no compiler, one wheel serves every machine, and the
compiler may use all that this processor has.  It takes a few seconds, once for each version of the
sources.  What is found in the cache is loaded only where `dfedge.native.cache` vouches for it.
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from dfedge.errors import DfedgeError
from dfedge.native import cache, objects
from dfedge.native.image import IMAGE_SUFFIX

T = TypeVar("T")

SOURCES = Path(__file__).parent / "src"
RUNNER = Path(__file__).parent / "run"
"""The command-line program dfedge-run."""
COMPILERS = ("cc", "gcc", "clang")
REMEDY = "a C compiler (Debian: apt-get install gcc libc6-dev)"
FLAGS = ("-std=c99", "-O3", "-Wall", "-fPIC", "-shared")
OWN_PROCESSOR = "-march=native"
NAME = "libdfedge.so"
SUFFIXES = (".c", ".S")
"""Of what is compiled or assembled."""
APART = ("board", "run", "examples", "*_known.*", "*_known_data.S", "*_normal.[ch]")
"""Of an exported folder: startup code, programs, known samples and what is normal, which are no
part of the library that is compiled here."""


def compiler() -> str | None:
    """The C compiler: ``$CC``, else the first of `COMPILERS` that is here."""
    wanted = os.environ.get("CC")
    names = (wanted,) if wanted else COMPILERS
    return next((path for name in names if (path := shutil.which(name))), None)


def required_compiler() -> str:
    """As `compiler`.

    Raises:
        DfedgeError: none is here.
    """
    found = compiler()
    if found is None:
        raise DfedgeError(
            f"no C compiler found ({', '.join(COMPILERS)}, or $CC); "
            "install one (Debian: apt-get install gcc libc6-dev), or choose another --runtime"
        )
    return found


def library(folder: Path = SOURCES, anew: bool = False) -> Path:
    """Compile the sources under a folder, once, and give the shared library's path.

    Args:
        anew: whatever the cache has.

    Raises:
        DfedgeError: no compiler, one that refuses the sources, or a cache that is not safe.
    """
    files = compiled_files(folder)
    sources = [path for path in files if path.suffix in SUFFIXES]
    return once([required_compiler(), *FLAGS, OWN_PROCESSOR], sources, files, NAME, anew)


def opened(made: Callable[[bool], Path], load: Callable[[Path], T]) -> T:
    """Load what is compiled; where it does not load, compile it anew and load that.

    Args:
        made: gives its path; True: compiled anew.

    Raises:
        DfedgeError: as `once` or as ``load`` raises.
    """
    path = made(False)
    try:
        return load(path)
    except DfedgeError:  # another machine's, or made for libraries that are gone
        return load(made(True))


def once(
    command: list[str], sources: list[Path], files: list[Path], name: str, anew: bool = False
) -> Path:
    """Compile sources to a shared library, unless the cache has it whole.

    Sources that are the package's own are compiled once for all libraries (`objects`).

    Args:
        command: the compiler and its options.
        files: that the outcome depends on, wherever they lie.
        anew: whatever the cache has.

    Raises:
        DfedgeError: the compiler refuses them, or the cache is not safe (`cache.folder`).
    """
    place = cache.folder(cache.key([*command, _processor()], files)) / name
    if anew or not cache.whole(place):
        _compile(command, sources, files, place, anew)
    return place


def compiled_files(folder: Path) -> list[Path]:
    """Sources and headers of the library under a folder, and what an assembler includes."""
    files = [path for path in folder.rglob("*") if path.suffix in (*SUFFIXES, ".h", IMAGE_SUFFIX)]
    return sorted(path for path in files if not _is_apart(path.relative_to(folder).parts[0]))


def _is_apart(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in APART)


def _processor() -> str:
    """What a library made for this processor may depend on: a cache may be shared by machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {flags}"


def _is_own(path: Path) -> bool:
    own = SOURCES / path.name
    return own.is_file() and own.read_bytes() == path.read_bytes()


def _compile(
    command: list[str], sources: list[Path], files: list[Path], place: Path, anew: bool
) -> None:
    """The library appears whole, whoever else compiles it at the same time."""
    own = [path for path in sources if _is_own(path)]
    rest = [path.absolute() for path in sources if path not in own]
    # An assembler looks for what it includes here; a path in the command would be in all keys.
    here = next((path.parent for path in rest if path.suffix == ".S"), None)
    said = ""
    try:
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            made = (Path(scratch) / place.name).absolute()
            for left_out in ("", OWN_PROCESSOR):  # which some compilers do not know
                words = [word for word in command if word != left_out]
                try:
                    kept = objects.made(words, own, files, _processor(), anew)
                    inputs = [*rest, *(path.absolute() for path in kept)]
                    words[1:1] = ["-o", str(made), *map(str, inputs)]  # libraries come after them
                    objects.run(words, here)
                except objects.RefusedError as error:
                    said = str(error)
                else:
                    cache.keep(place, made.read_bytes())
                    return
    except OSError as error:
        raise cache.unwritable(place, error) from error
    raise DfedgeError(f"{command[0]} refuses the native kernels: {said[:500]}")
