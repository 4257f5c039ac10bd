"""Runtimes as records: who opens a bundle's programs, who writes them, and what that needs.

A line of `OWN` is all that names a runtime: what it is called in commands and their help, what may
stand in a bundle's manifest, what ``dfedge doctor`` and a target ask for, is read from here.  An
installed package adds one by an entry point of the group `GROUP`:

    [project.entry-points."dfedge.runtimes"]
    reference = "my_package:RUNTIME"
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dfedge.errors import unknown_name
from dfedge.plugins import Records

GROUP = "dfedge.runtimes"
NO_PACKAGE: tuple[tuple[str, ...], ...] = ((),)


@dataclass(frozen=True)
class Runtime:
    """One way to run a bundle.

    Attributes:
        runner: ``module:class`` of what opens it (`dfedge.device.runners.Runner`); called with the
            bundle and a number of threads.
        writer: ``module:function`` that writes programs of the format of this name
            (`dfedge.exporters.formats.Writer`); empty: any bundle is run, for its plan is
            interpreted.
        one_file: the name of the file that all methods are in; empty: each has its own.
        own_name: a pattern of what that file may be called instead.
        stock: of a native rendering: the runtime whose stock rendering stands beside it.
        packages: Python packages that must be there, in each of the ways to have it.
        compilers: that must be there: ``c``, ``c++``.
        remedy: what brings the packages.
        side_by_side: threads may infer and look at features at one time, while none learns.
        aliases: other names that people have for it; commands take them.
    """

    runner: str
    writer: str = ""
    one_file: str = ""
    own_name: str = ""
    stock: str = ""
    packages: tuple[tuple[str, ...], ...] = NO_PACKAGE
    compilers: tuple[str, ...] = ()
    remedy: str = ""
    side_by_side: bool = False
    aliases: tuple[str, ...] = ()

    def holds(self, method: str, file: str) -> bool:
        """Whether a method's program is where it should be.

        Args:
            file: within the folder of the format.
        """
        wanted = self.one_file or f"{method}.onnx"
        return file == wanted or re.fullmatch(self.own_name, file) is not None


OWN = {
    "onnx": Runtime(
        runner="dfedge.device.onnx:OnnxRunner",
        writer="dfedge.exporters.onnx:write",
        packages=(("onnxruntime",),),
        remedy="pip install 'dfedge[onnx]'",
        side_by_side=True,
        aliases=("onnxruntime", "ort"),
    ),
    "onnx-native": Runtime(
        runner="dfedge.device.onnx_native:OnnxNativeRunner",
        writer="dfedge.exporters.onnx_native:write",
        stock="onnx",
        packages=(("onnxruntime",),),
        compilers=("c",),
        remedy="pip install 'dfedge[onnx]'",
        side_by_side=True,
    ),
    "executorch": Runtime(
        runner="dfedge.device.executorch:ExecuTorchRunner",
        writer="dfedge.exporters.executorch:write",
        one_file="program.pte",
        packages=(("executorch", "torch"),),
        remedy="pip install 'dfedge[executorch]'",
        aliases=("et", "pte"),
    ),
    "executorch-native": Runtime(
        runner="dfedge.device.executorch_native:ExecuTorchNativeRunner",
        writer="dfedge.exporters.executorch_native:write",
        one_file="program.pte",
        stock="executorch",
        packages=(("executorch",),),
        compilers=("c", "c++"),
        remedy="pip install --no-deps 'executorch>=1.5' (its C++ core; torch is not needed)",
    ),
    "litert": Runtime(
        runner="dfedge.device.litert:LiteRtRunner",
        writer="dfedge.exporters.litert:write",
        one_file="program.tflite",
        packages=(("ai_edge_litert",), ("tflite_runtime",)),
        remedy="pip install 'dfedge[litert]'",
        aliases=("tensorflow-lite", "tf-lite", "tflite"),
    ),
    "c": Runtime(
        runner="dfedge.device.native:ExportedRunner",
        writer="dfedge.exporters.c:write",
        one_file="net.c",
        own_name=r"(src/)?[a-z][a-z0-9_]{0,31}\.c",
        compilers=("c",),
        side_by_side=True,
        aliases=("c99",),
    ),
    "native": Runtime(
        runner="dfedge.device.native:NativeRunner", compilers=("c",), side_by_side=True
    ),
}
"""Those that come with dfedge, in the order in which a session looks for one."""


def _stock(known: dict[str, Runtime]) -> tuple[str, ...]:
    return tuple(name for name, one in known.items() if one.writer and not one.stock)


STOCK = _stock(OWN)
"""Of these the formats that ``--format`` takes."""
NATIVE = "native"
"""The runtime that is taken where no package is: it interprets the plan of any bundle."""


RUNTIMES = Records(OWN, GROUP, Runtime)
runtimes, find = RUNTIMES.all, RUNTIMES.find


def runtime(name: str) -> Runtime:
    """As `find`.

    Raises:
        UsageError: no such runtime.
    """
    found = find(name)
    if found is None:
        raise unknown_name("runtime", name, list(runtimes()))
    return found


def own_name(name: str) -> str:
    """The runtime's own name where an alias is given; any other name as it is."""
    known = runtimes()
    return next((own for own, one in known.items() if name in one.aliases), name)


def formats() -> tuple[str, ...]:
    """Runtimes whose programs are written at export."""
    return tuple(name for name, one in runtimes().items() if one.writer)


def stock_formats() -> tuple[str, ...]:
    """As `formats`, without the native renderings: what ``--format`` takes."""
    return _stock(runtimes())


def listed(names: Iterable[str]) -> str:
    """``a, b or c``."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
