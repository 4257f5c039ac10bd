"""What a session asks of a runtime, and which one is opened (`dfedge.runtimes`)."""

import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.checked import CheckedRunner
from dfedge.errors import DfedgeError
from dfedge.native.build import REMEDY
from dfedge.native.glue import lacking_compiler
from dfedge.native.rendering import STOCK, native_of
from dfedge.runtimes import NATIVE, NO_PACKAGE, OWN, runtime, runtimes
from dfedge.state import State

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


def installed(name: str) -> bool:
    """Whether a runtime's packages can be imported here and a compiler that it needs is found."""
    ways = runtime(name).packages
    return lacking_compiler(name) is None and any(all(map(find_spec, way)) for way in ways)


def check_runtimes(bundle: Bundle, names: list[str]) -> None:
    """Refuse a name that is not a runtime, or one that the bundle has no programs for.

    Raises:
        UsageError: naming it and the known ones.
    """
    for name in names:
        if runtime(name).writer:
            bundle.format(name)


def runnable(bundle: Bundle) -> list[str]:
    """Runtimes that it has programs for, then those that need none."""
    others = [name for name, one in runtimes().items() if not one.writer]
    return [*bundle.manifest.formats, *others]


def remedy(name: str) -> str:
    """What brings a runtime that is not installed."""
    return lacking_compiler(name) or runtime(name).remedy or REMEDY


def open_runner(bundle: Bundle, name: str, threads: int = 1) -> Runner:
    """Open a bundle's programs, at its first state, in a runtime that uses so many threads.

    Raises:
        UsageError: no such runtime, or the bundle was not exported to its format.
        DfedgeError: the runtime is not installed, or refuses the program.
    """
    check_runtimes(bundle, [name])
    if not installed(name):
        raise DfedgeError(f"runtime '{name}' is not installed; {remedy(name)}")
    with _OPENING:
        runner: Runner = resolve_name(runtime(name).runner)(bundle, threads)
    return runner


@dataclass(frozen=True)
class Opened:
    """A runner, the name of what it runs, and what had to be skipped for it."""

    runner: Runner
    name: str
    notes: tuple[str, ...] = ()


def open_best(bundle: Bundle, wanted: str | None, threads: int = 1) -> Opened:
    """As `open_runner`, in the native rendering where the bundle has it and it can be used here.

    Args:
        wanted: None takes the first that is installed; ``onnx-stock`` and ``executorch-stock``
            keep to the stock rendering, ``onnx-native`` and ``executorch-native`` to the other.

    Raises:
        UsageError, DfedgeError: as `open_runner`.
    """
    name = wanted or choose_runtime(bundle)
    formats, native = bundle.manifest.formats, native_of(name)
    if name.endswith(STOCK):
        name = name.removesuffix(STOCK)
    elif native in formats:
        try:
            return _opened(bundle, native, threads)
        except DfedgeError as error:
            if name not in formats:
                raise
            note = f"{name}: stock rendering, because the native one cannot be used: {error}"
            return _opened(bundle, name, threads, note)
    return _opened(bundle, name, threads)


def _opened(bundle: Bundle, name: str, threads: int, *notes: str) -> Opened:
    runner = CheckedRunner(open_runner(bundle, name, threads), bundle, name)
    return Opened(runner, name, notes)


def choose_runtime(bundle: Bundle) -> str:
    """The first runtime whose package is installed and has programs here, else the native one.

    Raises:
        DfedgeError: none.
    """
    formats = bundle.manifest.formats
    known = OWN if formats.keys() <= OWN.keys() else runtimes()
    for name, one in known.items():
        if name in formats and one.packages != NO_PACKAGE and installed(name):
            return name
    if installed(NATIVE):
        return NATIVE
    wanted = " or ".join(dict.fromkeys(remedy(name) for name in [*formats, NATIVE]))
    raise DfedgeError(
        f"{bundle.folder}: no runtime for {', '.join(formats)} is installed; {wanted}"
    )
