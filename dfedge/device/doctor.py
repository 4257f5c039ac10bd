"""What is installed, what is missing, how to get it; and whether a bundle's integers are right."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dfedge.bundle import Bundle
from dfedge.device.replay import check_golden
from dfedge.device.runners import installed, remedy, runnable
from dfedge.errors import DfedgeError
from dfedge.native.build import REMEDY, compiler
from dfedge.native.glue import CXX_REMEDY, cxx_compiler
from dfedge.runtimes import OWN, runtimes


@dataclass(frozen=True)
class PackageCheck:
    """One package: its version here, or None and what would bring it."""

    name: str
    purpose: str
    remedy: str
    version: str | None


@dataclass(frozen=True)
class RuntimeCheck:
    """A bundle's golden batches in one runtime."""

    runtime: str
    good: bool
    result: str


PARTS = {
    "onnxruntime": ("run bundles: --runtime onnx", OWN["onnx"].remedy),
    "executorch": ("run and export bundles: executorch", OWN["executorch"].remedy),
    "ai-edge-litert": ("run and export bundles: litert", OWN["litert"].remedy),
    "pillow": ("read image files", "pip install 'dfedge[images]'"),
    "cryptography": ("sign bundles and check signatures", "pip install 'dfedge[sign]'"),
    "dp-accounting": ("account for noise in fleets", "pip install 'dfedge[privacy]'"),
    "torch": ("train and export, on the host", "pip install 'dfedge[train]'"),
    "onnx": ("export to ONNX, on the host", "pip install 'dfedge[train]'"),
    "scikit-learn": ("the embedded data set digits", "pip install 'dfedge[train]'"),
    "matplotlib": ("plots of the demo's report", "pip install 'dfedge[train]'"),
}
"""Package -> (what it is for, how to get it)."""


def examine() -> list[PackageCheck]:
    """Every optional part, installed or not."""
    native = "run bundles: --runtime native; export and run c and native renderings"
    compilers = [
        PackageCheck("C compiler", native, REMEDY, compiler()),
        PackageCheck(
            "C++ compiler", "export and run executorch-native", CXX_REMEDY, cxx_compiler()
        ),
    ]
    others = [
        PackageCheck(
            name,
            f"run bundles: --runtime {name}, which a package adds",
            one.remedy,
            "installed" if installed(name) else None,
        )
        for name, one in runtimes().items()
        if name not in OWN
    ]
    own = [PackageCheck(name, *about, _version(name)) for name, about in PARTS.items()]
    return own + compilers + others


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def try_bundle(
    folder: Path, require_signature: Path | None = None, min_version: int | None = None
) -> list[RuntimeCheck]:
    """Train a bundle's golden batches in each of its runtimes.

    Raises:
        DfedgeError: no bundle there, one whose files were changed, or not signed or not as
            new as is required.
    """
    bundle = Bundle.open(folder, require_signature, min_version)
    return [_try(bundle, name) for name in runnable(bundle)]


def _try(bundle: Bundle, runtime: str) -> RuntimeCheck:
    if not installed(runtime):
        return RuntimeCheck(runtime, True, f"not tried: not installed; {remedy(runtime)}")
    try:
        steps = check_golden(bundle, runtime)
    except DfedgeError as error:
        return RuntimeCheck(runtime, False, str(error))
    return RuntimeCheck(runtime, True, f"{steps} golden training steps gave the exact integers")
