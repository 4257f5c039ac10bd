"""The interpreter inside a runtime: a library of operations, compiled here against that runtime.

One operation is a whole call of the interpreter, so a program of the native rendering is one node
and its bits are the interpreter's.  The operations' library is linked with the one that
`dfedge.native.library` loads: the kernels are in a process once.
"""

import ctypes
import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from dfedge.errors import DfedgeError
from dfedge.native import build
from dfedge.native.library import STATUS, load
from dfedge.runtimes import runtime

SOURCES = Path(__file__).parent / "ops"
CXX_COMPILERS = ("c++", "g++", "clang++")
CXX_REMEDY = "a C++ compiler (Debian: apt-get install g++)"
CXX_FLAGS = ("-std=c++17", "-O2", "-Wall", "-fPIC", "-shared")
EXECUTORCH_FLAGS = ("-DC10_USING_CUSTOM_GENERATED_MACROS",)  # as its own CMake files have it
REGISTERED = 0x16
"""ExecuTorch's code for names that another library has taken."""


def cxx_compiler() -> str | None:
    """The C++ compiler, which ExecuTorch's interface needs."""
    return next((path for name in CXX_COMPILERS if (path := shutil.which(name))), None)


def lacking_compiler(name: str) -> str | None:
    """What is missing here to compile what a runtime needs; None: nothing."""
    needed = runtime(name).compilers
    if "c" in needed and build.compiler() is None:
        return build.REMEDY
    if "c++" in needed and cxx_compiler() is None:
        return CXX_REMEDY
    return None


@cache
def executorch() -> "Glue":
    """Compile, load and register the operations, with ExecuTorch's C++ runtime: neither torch nor
    ExecuTorch's Python package is imported.

    Raises:
        DfedgeError: no compiler, no package, or the names are taken.
    """
    compiler, spec = cxx_compiler(), find_spec("executorch")
    if compiler is None:
        raise DfedgeError(
            f"no C++ compiler found ({', '.join(CXX_COMPILERS)}); install one (Debian: apt-get "
            "install g++), or choose the stock rendering"
        )
    if spec is None or not spec.submodule_search_locations:
        raise DfedgeError("executorch is not installed; pip install --no-deps 'executorch>=1.5'")
    package = Path(spec.submodule_search_locations[0])
    include, core = package / "include", package / "lib" / "libexecutorch.so"
    if not core.is_file():
        raise DfedgeError(f"{core} is missing: this executorch brings no C++ library; update it")
    headers = [include, include / "executorch" / "runtime" / "core" / "portable_type" / "c10"]
    command = [compiler, *CXX_FLAGS, *EXECUTORCH_FLAGS, f"-I{build.SOURCES}"]
    command += [word for path in headers for word in ("-isystem", str(path))]
    sources = ["executorch.cpp", "open.cpp"]
    glue = _load(command, sources, [core], [package / "version.py"])
    library = glue.library
    library.dfe_open.restype = ctypes.c_void_p
    library.dfe_open.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    library.dfe_close.argtypes = [ctypes.c_void_p]
    buffers = ctypes.c_void_p, ctypes.c_int32
    library.dfe_run.argtypes = [ctypes.c_void_p, ctypes.c_char_p, *buffers, *buffers]
    status = library.dfe_register()
    if status:
        why = "another library has their names" if status == REGISTERED else f"error {status:#x}"
        raise DfedgeError(f"executorch refuses the native operations: {why}")
    return glue


@cache
def onnxruntime() -> "Glue":
    """Compile and load the operations; a session registers them by the library's path.

    Raises:
        DfedgeError: no compiler.
    """
    command = [build.required_compiler(), *build.FLAGS, f"-I{build.SOURCES}"]
    return _load(command, ["onnxruntime.c"], [], [])


class Glue:
    """A loaded library of operations.

    Attributes:
        path, library: of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.library = ctypes.CDLL(str(path))
            self.library.dfe_last_status.restype = ctypes.c_int
        except (OSError, AttributeError) as error:
            raise DfedgeError(f"{path}: is not a library of native operations: {error}") from error

    def reason(self, runtimes: str) -> DfedgeError:
        """Why the last call was refused: the interpreter's own words, else the runtime's."""
        status = self.library.dfe_last_status()
        return DfedgeError(STATUS[status] if status else runtimes)


def _load(
    command: list[str], sources: list[str], libraries: list[Path], made_for: list[Path]
) -> Glue:
    """Against the kernels and other libraries, anew where a file that it was made for changes."""
    kernels = Path(load()._name)
    files = [*sorted(SOURCES.iterdir()), *build.compiled_files(build.SOURCES), *made_for]
    linked = [str(path) for path in (kernels, *libraries)]
    linked += [f"-Wl,-rpath,{path.parent}" for path in libraries]  # known there by name alone
    name = f"libdfedge_{sources[0].partition('.')[0]}.so"
    paths = [SOURCES / path for path in sources]
    return build.opened(
        lambda anew: build.once([*command, *linked], paths, files, name, anew), Glue
    )
