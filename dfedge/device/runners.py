"""The table of runtimes, and what a session asks of each."""

import threading
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.checked import CheckedRunner
from dfedge.errors import DfedgeError, unknown_name
from dfedge.native.build import REMEDY, compiler
from dfedge.native.glue import lacking_compiler
from dfedge.native.rendering import STOCK, format_of, is_native, native_of
from dfedge.state import State

RUNTIMES = {
    "onnx": "dfedge.device.onnx:OnnxRunner",
    "onnx-native": "dfedge.device.onnx_native:OnnxNativeRunner",
    "executorch": "dfedge.device.executorch:ExecuTorchRunner",
    "executorch-native": "dfedge.device.executorch_native:ExecuTorchNativeRunner",
    "litert": "dfedge.device.litert:LiteRtRunner",
    "c": "dfedge.device.native:ExportedRunner",
}
"""Name -> module:class; reading the table imports no runtime."""

COMPILED = ("c", "native")
"""Runtimes that need a C compiler and no package."""
NATIVE = "native"
"""The runtime that needs no program of its own: it interprets the plan of any bundle."""
NATIVE_RUNNER = "dfedge.device.native:NativeRunner"

SIDE_BY_SIDE = ("onnx", "onnx-native", *COMPILED)
"""Runtimes in which threads may infer and look at features at one time, while none learns."""

PACKAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "onnx": (("onnxruntime",),),
    "onnx-native": (("onnxruntime",),),
    "executorch": (("executorch", "torch"),),
    "executorch-native": (("executorch",),),
    "litert": (("ai_edge_litert",), ("tflite_runtime",)),
}
"""Runtime -> the Python packages that it needs, in each of the ways to have it."""


_OPENING = threading.RLock()
"""Libraries are compiled, loaded and registered once in a process: by one thread at a time."""


class Runner(Protocol):
    """A bundle's programs opened in one runtime, with the state inside."""

    def infer(self, x: NDArray[np.int8]) -> NDArray[np.int32]:
        """Scores [B, K] of x [B, H, W, C]; B is an infer method's batch size."""

    def train(
        self, x: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch: scores [B, K] before learning, active samples [L]."""

    def features(self, x: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        """What each layer's anchors see, [B, d] a layer, then the latent for `train_from`."""

    def train_from(
        self, z: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """As `train`, from latents on; where the bundle freezes a first part."""

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""

    def set_state(self, state: State) -> None:
        """Overwrite the whole state."""


def place_of(runtime: str) -> tuple[str, str]:
    """Module and class of a runtime's runner."""
    module, name = (NATIVE_RUNNER if runtime == NATIVE else RUNTIMES[runtime]).split(":")
    return module, name


def installed(runtime: str) -> bool:
    """Whether the runtime's package can be imported here and a compiler that it needs is found."""
    if runtime in COMPILED:
        return compiler() is not None
    if is_native(runtime) and lacking_compiler(runtime) is not None:
        return False
    return any(all(map(find_spec, packages)) for packages in PACKAGES[runtime])


def check_runtimes(bundle: Bundle, names: list[str]) -> None:
    """Refuse a name that is no runtime, or one that the bundle has no programs for.

    Raises:
        UsageError: naming it and the known ones.
    """
    for name in names:
        if name == NATIVE:
            continue
        if name not in RUNTIMES:
            raise unknown_name("runtime", name, [*RUNTIMES, NATIVE])
        bundle.format(name)


def remedy(runtime: str) -> str:
    """What brings a runtime that is not installed."""
    if runtime in COMPILED:
        return REMEDY
    lacking = lacking_compiler(runtime) if is_native(runtime) else None
    if lacking is not None:
        return lacking
    if runtime == "executorch-native":
        return "pip install --no-deps 'executorch>=1.5' (its C++ core; torch is not needed)"
    return f"pip install 'dfedge[{format_of(runtime)}]'"


def open_runner(bundle: Bundle, runtime: str, threads: int = 1) -> Runner:
    """Open a bundle's programs, at its first state, in a runtime that uses so many threads.

    Raises:
        UsageError: no such runtime, or the bundle was not exported to its format.
        DfedgeError: the runtime is not installed, or refuses the program.
    """
    check_runtimes(bundle, [runtime])
    if not installed(runtime):
        raise DfedgeError(f"runtime '{runtime}' is not installed; {remedy(runtime)}")
    module, name = place_of(runtime)
    with _OPENING:
        runner: Runner = getattr(import_module(module), name)(bundle, threads)
    return runner


@dataclass(frozen=True)
class Opened:
    """A runner, the name of what it runs, and what had to be passed over for it."""

    runner: Runner
    name: str
    notes: tuple[str, ...] = ()


def open_best(bundle: Bundle, runtime: str | None, threads: int = 1) -> Opened:
    """As `open_runner`, in the native rendering where the bundle has it and it can be used here.

    Args:
        runtime: None takes the first that is installed; ``onnx-stock`` and ``executorch-stock``
            keep to the stock rendering, ``onnx-native`` and ``executorch-native`` to the other.

    Raises:
        UsageError, DfedgeError: as `open_runner`.
    """
    runtime = runtime or choose_runtime(bundle)
    formats, native = bundle.manifest.formats, native_of(runtime)
    if runtime.endswith(STOCK):
        runtime = runtime.removesuffix(STOCK)
    elif native in formats:
        try:
            return _opened(bundle, native, threads)
        except DfedgeError as error:
            if runtime not in formats:
                raise
            note = f"{runtime}: stock rendering, because the native one cannot be used: {error}"
            return _opened(bundle, runtime, threads, note)
    return _opened(bundle, runtime, threads)


def _opened(bundle: Bundle, runtime: str, threads: int, *notes: str) -> Opened:
    runner = CheckedRunner(open_runner(bundle, runtime, threads), bundle, runtime)
    return Opened(runner, runtime, notes)


def choose_runtime(bundle: Bundle) -> str:
    """The first runtime whose package is installed and has programs here, else the native one.

    Raises:
        DfedgeError: none.
    """
    formats = bundle.manifest.formats
    for name in RUNTIMES:
        if name in formats and name not in COMPILED and installed(name):
            return name
    if installed(NATIVE):
        return NATIVE
    wanted = " or ".join(dict.fromkeys(remedy(name) for name in [*formats, NATIVE]))
    raise DfedgeError(
        f"{bundle.folder}: no runtime for {', '.join(formats)} is installed; {wanted}"
    )
