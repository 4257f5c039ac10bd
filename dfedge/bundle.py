"""A bundle: the folder that goes to the device and never changes after export.

    manifest.json          everything below, described, with the hash of every other file
    state.safetensors      the state to start from
    golden.safetensors     a few real batches and the exact integers that they must give
    onnx/METHOD.onnx       one functional program a method
    executorch/program.pte all methods over one shared state

The SHA-256 of manifest.json names the bundle: it covers every byte of it.  Hashes are checked
before anything is loaded, because a flipped bit in a program may run on and be silently wrong.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from dfedge import state
from dfedge.data.image import ImageRule
from dfedge.errors import DfedgeError, unknown_name
from dfedge.plan import Plan

VERSION = 2
SEMANTICS_VERSION = 4
"""Raised whenever a program of the same bundle would hold other bits: see `dfedge.int8`."""

LEARNING = ("train", "train_from")
"""Kinds of methods that take labels and rewrite the state."""

MANIFEST, STATE, GOLDEN = "manifest.json", "state.safetensors", "golden.safetensors"


class FileRecord(msgspec.Struct, frozen=True):
    """Size and SHA-256 of one file."""

    bytes: int
    sha256: str


class MethodRecord(msgspec.Struct, frozen=True):
    """An entry point: ``kind`` train, infer, features or train_from; its fixed batch size."""

    name: str
    kind: str
    batch: int


class MemoryPlan(msgspec.Struct, frozen=True):
    """Bytes of RAM that a method is planned to need: temporaries, and state kept between calls."""

    arena_bytes: int
    state_bytes: int


class FormatRecord(msgspec.Struct, frozen=True):
    """One format's files, the versions that wrote it, its memory plan and its verification.

    Attributes:
        files: method -> path inside the bundle.
        versions: package -> version.
        memory: method -> plan.
        memory_source: who made the plan.
        verified_steps: training steps, after each of which its state equalled PyTorch's,
            byte for byte.
    """

    files: dict[str, str]
    versions: dict[str, str]
    memory: dict[str, MemoryPlan]
    memory_source: str
    verified_steps: int


class Exponents(msgspec.Struct, frozen=True):
    """Of one layer: integer = real * 2^exponent; one of each for every convolution."""

    weights: list[int]
    activations: list[int]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """manifest.json.

    Attributes:
        classes: names of the classes that are live at first; the plan may have more rows.
        image: the rule that brings any image to the programs' input.
        data: the data set (or path) that the net was trained on.
        state_names: in the order in which programs take them.
        state_sha256: digest of the first state.
        golden_sha256: digest of the state after the golden batches.
        test_accuracy: of the fake-quantised net on the host's test split, which the programs equal.
        recipe: the calibration recipe's name.
    """

    version: int
    semantics_version: int
    dfedge_version: str
    net: str
    rule: str
    data: str
    classes: tuple[str, ...]
    image: ImageRule
    input_exponent: int
    plan: Plan
    exponents: list[Exponents]
    methods: list[MethodRecord]
    state_names: list[str]
    formats: dict[str, FormatRecord]
    state_sha256: str
    golden_sha256: str
    test_accuracy: float
    recipe: str
    target: str
    files: dict[str, FileRecord]

    def batches(self, kind: str) -> list[int]:
        """Batch sizes of the methods of a kind, largest first."""
        return sorted((m.batch for m in self.methods if m.kind == kind), reverse=True)


def file_record(path: Path) -> FileRecord:
    """Size and hash of a file."""
    raw = path.read_bytes()
    return FileRecord(len(raw), hashlib.sha256(raw).hexdigest())


@dataclass(frozen=True)
class Bundle:
    """An open, verified bundle."""

    folder: Path
    manifest: Manifest
    sha256: str

    @staticmethod
    def open(folder: Path) -> "Bundle":
        """Read the manifest and check every file's hash.

        Raises:
            DfedgeError: no bundle, another version, or a file that is missing or was changed.
        """
        path = folder / MANIFEST
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise DfedgeError(
                f"{folder} is no bundle (no {MANIFEST}); make one with: "
                f"dfedge export RUN --format onnx --out {folder}"
            ) from error
        try:
            manifest = msgspec.json.decode(raw, type=Manifest)
        except msgspec.DecodeError as error:
            raise DfedgeError(f"{path}: cannot be read: {error}; export again") from error
        if (manifest.version, manifest.semantics_version) != (VERSION, SEMANTICS_VERSION):
            raise DfedgeError(
                f"{folder}: bundle version {manifest.version}, semantics "
                f"{manifest.semantics_version}; this dfedge reads {VERSION} and "
                f"{SEMANTICS_VERSION}; export again"
            )
        for name, record in manifest.files.items():
            file = folder / name
            if not file.is_file():
                raise DfedgeError(f"{folder}: file {name} is missing; copy or export it again")
            if file_record(file) != record:
                raise DfedgeError(
                    f"{file}: changed since export (its SHA-256 is not the manifest's); "
                    "copy or export the bundle again"
                )
        return Bundle(folder, manifest, hashlib.sha256(raw).hexdigest())

    def initial_state(self) -> dict[str, NDArray[Any]]:
        """The state to start from."""
        return state.read(self.folder / STATE)

    def golden(self) -> dict[str, NDArray[Any]]:
        """x int8 [S, B, H, W, C], y int32 [S, B], scores int32 [S, B, K], infer int32 [B, K].

        ``scores`` come from S successive training steps, ``infer`` from the last x after them;
        ``digests`` uint8 [S, T, 32] are SHA-256 of every state tensor after each step.
        """
        return state.read(self.folder / GOLDEN)

    def format(self, name: str) -> FormatRecord:
        """The record of a format.

        Raises:
            UsageError: the bundle was not exported to it.
        """
        if name not in self.manifest.formats:
            raise unknown_name(
                f"format of {self.folder}", name, list(self.manifest.formats), "export it as well"
            )
        return self.manifest.formats[name]
