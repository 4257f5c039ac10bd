"""A bundle: the folder that goes to the device and never changes after export.

    manifest.json          everything below, described, with the hash of every other file
    state.safetensors      the state to start from
    golden.safetensors     a few real batches and the exact integers that they must give
    trunk.safetensors      perhaps: the constants of a frozen trunk (`dfedge.trunk`)
    known.safetensors      perhaps: samples of what the net knows, to replay and to judge by
    memory.json            what each method needs of memory, position by position
    onnx/METHOD.onnx       one functional program a method
    executorch/program.pte all methods over one shared state
    manifest.sig           perhaps: who made it (`dfedge.trust.signature`)

The SHA-256 of manifest.json names the bundle: it covers every byte of it.  The manifest carries a
digest of its own as well: SHA-256 of its bytes, taken while the digest's 64 letters are zeros.  All
is checked before anything is loaded, because a flipped bit in a program may run on and be silently
wrong, and nothing else may lie in the folder.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from numpy.typing import NDArray

from dfedge import footprint, state
from dfedge.data.image import ImageRule
from dfedge.errors import DfedgeError, unknown_name
from dfedge.footprint import Footprints
from dfedge.plan import Plan
from dfedge.trust import signature
from dfedge.trust.folder import check_folder

T = TypeVar("T")

VERSION = 3
OLDEST_VERSION = 2
"""Of bundles that are still read; 2 had no digest of its manifest."""

SEMANTICS_VERSION = 5
"""Raised whenever a program of the same bundle would hold other bits: see `dfedge.int8`."""

LEARNING = ("train", "train_from")
"""Kinds of methods that take labels and rewrite the state."""

MANIFEST, STATE, GOLDEN = "manifest.json", "state.safetensors", "golden.safetensors"
MEMORY, TRUNK, KNOWN = "memory.json", "trunk.safetensors", "known.safetensors"
MAX_MANIFEST_BYTES = 1 << 24
BLANK = "0" * 64
AGAIN = "copy or export the bundle again"


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


Part = Literal["all", "upper", "anchors", "nothing"]
"""What of a net learns: all layers that were to, the upper ones of them, anchors alone."""


class Look(msgspec.Struct, frozen=True):
    """One look of the trial of learning: accuracy on held-out samples after so many presentations.

    Attributes:
        own, changed: of the net's own kind of data, and of a mild change of them, each after
            learning its own kind.
    """

    presented: int
    own: float
    changed: float


class Learning(msgspec.Struct, frozen=True):
    """What learning did when it was tried at export (`dfedge.export.learning`).

    Attributes:
        tried: whether it was.
        learns: which part of the net.
        frozen: the first layer that learns.
        slower: how many times the measured rates were halved.
        change: what was changed, in words.
        held_out: samples that judged.
        curve: looks on the way, the first from before it learned.
    """

    tried: bool = False
    learns: Part = "all"
    frozen: int = 0
    slower: int = 0
    change: str = ""
    held_out: int = 0
    curve: list[Look] = []


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
        budget_bytes: that arena and state were held to; 0 in bundles that know none.
        learning: what the trial of learning found.
        digest: of the manifest itself; see `seal`.
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
    budget_bytes: int = 0
    learning: Learning = Learning()
    digest: str = ""

    def batches(self, kind: str) -> list[int]:
        """Batch sizes of the methods of a kind, largest first."""
        return sorted((m.batch for m in self.methods if m.kind == kind), reverse=True)


class Head(msgspec.Struct, frozen=True):
    """What is read of a manifest first: these fields mean the same in every version."""

    version: int
    semantics_version: int
    digest: str = ""


def seal(manifest: Manifest) -> bytes:
    """manifest.json's bytes, with their own digest filled in."""
    blank = msgspec.structs.replace(manifest, version=VERSION, digest=BLANK)
    raw = msgspec.json.format(msgspec.json.encode(blank))
    return raw.replace(BLANK.encode(), hashlib.sha256(raw).hexdigest().encode())


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
    def open(folder: Path, require_signature: str | Path | None = None) -> "Bundle":
        """Read the manifest and check it, and every file's name, size and hash.

        Args:
            require_signature: a public key (PEM); a bundle that it did not sign is refused.

        Raises:
            DfedgeError: no bundle, a newer one, a file that is missing, changed, unknown or a link,
                or not signed by that key.
        """
        raw = _read_manifest(folder)
        if require_signature is not None:
            signature.check(folder, raw, Path(require_signature))
        manifest = parse_manifest(raw, folder)
        files = {name: (record.bytes, record.sha256) for name, record in manifest.files.items()}
        check_folder(folder, files, frozenset({MANIFEST, signature.SIGNATURE}), AGAIN)
        return Bundle(folder, manifest, hashlib.sha256(raw).hexdigest())

    def sign(self, key: Path) -> None:
        """Write the signature of a private key (PEM) beside the manifest.

        Raises:
            DfedgeError: no such key, or the bundle was changed since it was opened.
        """
        signature.sign(self.folder, self._manifest(), key)

    def check_signature(self, key: Path) -> None:
        """Refuse a bundle that the key (public, PEM) did not sign.

        Raises:
            DfedgeError: not signed by it, or changed since it was opened.
        """
        signature.check(self.folder, self._manifest(), key)

    def _manifest(self) -> bytes:
        """The very bytes that were opened."""
        raw = _read_manifest(self.folder)
        if hashlib.sha256(raw).hexdigest() != self.sha256:
            raise DfedgeError(f"{self.folder}: changed since it was opened; {AGAIN}")
        return raw

    def initial_state(self) -> dict[str, NDArray[Any]]:
        """The state to start from."""
        return self._arrays(STATE)

    def constants(self) -> dict[str, NDArray[Any]]:
        """Of the plan's trunk; none where there is no trunk."""
        return self._arrays(TRUNK) if self.manifest.plan.trunk else {}

    def golden(self) -> dict[str, NDArray[Any]]:
        """x int8 [S, B, H, W, C], y int32 [S, B], scores int32 [S, B, K], infer int32 [B, K].

        ``scores`` come from S successive training steps, ``infer`` from the last x after them;
        ``digests`` uint8 [S, T, 32] are SHA-256 of every state tensor after each step.
        """
        return self._arrays(GOLDEN)

    def known(self) -> dict[str, NDArray[Any]]:
        """Samples of what the net knows; none in a bundle that brings none.

        ``replay.x`` int8 [R, H, W, C] and ``replay.y`` int32 [R], of its training data, as many of
        each class as there are; ``judge.x`` and ``judge.y``, of its own kind of data, that it was
        never trained on.
        """
        return self._arrays(KNOWN) if KNOWN in self.manifest.files else {}

    def _arrays(self, name: str) -> dict[str, NDArray[Any]]:
        return state.parse(self._bytes(name), self.folder / name)

    def _bytes(self, name: str) -> bytes:
        """A file's content, its hash checked again on the very bytes that are used."""
        path = self.folder / name
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise DfedgeError(f"{path}: cannot be read ({error.strerror}); {AGAIN}") from error
        if hashlib.sha256(raw).hexdigest() != self.manifest.files[name].sha256:
            raise DfedgeError(f"{path}: changed since the bundle was opened; {AGAIN}")
        return raw

    def footprints(self) -> Footprints:
        """Format -> method -> what it needs position by position; empty in older bundles."""
        if MEMORY not in self.manifest.files:
            return {}
        return footprint.decode(self._bytes(MEMORY), self.folder / MEMORY)

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


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    try:
        if path.is_symlink():
            raise DfedgeError(f"{path}: a link has no place in a bundle; {AGAIN}")
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise DfedgeError(
            f"{folder} is no bundle (no {MANIFEST}); make one with: "
            f"dfedge export RUN --format onnx --out {folder}"
        ) from error
    if len(raw) > MAX_MANIFEST_BYTES:
        raise DfedgeError(f"{path}: larger than {MAX_MANIFEST_BYTES:,} bytes; {AGAIN}")
    return raw


def parse_manifest(raw: bytes, folder: Path) -> Manifest:
    """Read and check manifest.json's bytes; ``folder`` is for the error's text.

    Raises:
        DfedgeError: of another version, changed since export, or without sense.
    """
    path = folder / MANIFEST
    head = _decode(raw, _HEAD, path)
    if head.version > VERSION or head.semantics_version > SEMANTICS_VERSION:
        remedy = "a newer dfedge made it: update dfedge"
    else:
        remedy = "export again"
    found = (head.version, head.semantics_version)
    if not OLDEST_VERSION <= head.version <= VERSION or found[1] != SEMANTICS_VERSION:
        raise DfedgeError(
            f"{folder}: bundle version {found[0]}, semantics {found[1]}; this dfedge reads "
            f"{OLDEST_VERSION} to {VERSION} and {SEMANTICS_VERSION}; {remedy}"
        )
    digest = head.digest.encode()
    blanked = raw.replace(digest, BLANK.encode()) if digest else raw
    if (digest or head.version > 2) and hashlib.sha256(blanked).hexdigest().encode() != digest:
        raise DfedgeError(f"{path}: changed since export (its digest does not fit); {AGAIN}")
    manifest = _decode(raw, _MANIFEST, path)
    _check_sense(manifest, path)
    return manifest


# Made at import, by one thread: msgspec crashes where two threads are the first to need one type.
_HEAD, _MANIFEST = msgspec.json.Decoder(Head), msgspec.json.Decoder(Manifest)


def _decode(raw: bytes, decoder: msgspec.json.Decoder[T], path: Path) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DfedgeError(f"{path}: cannot be read: {error}; export again") from error


def _check_sense(manifest: Manifest, path: Path) -> None:
    """What a schema cannot say.  A digest keeps accidents out; this keeps strangers' slips out.

    Raises:
        DfedgeError: naming the field.
    """
    names = {method.name for method in manifest.methods}
    known = manifest.files.keys()
    for wrong, field in (
        (not {STATE, GOLDEN} <= known, "files"),
        (MANIFEST in known or signature.SIGNATURE in known, "files"),
        (manifest.plan.trunk is not None and TRUNK not in known, "files"),
        (manifest.plan.trunk is not None and not manifest.plan.trunk.sound, "plan.trunk"),
        (not manifest.plan.layers, "plan.layers"),
        (not 1 <= len(manifest.classes) <= manifest.plan.classes, "classes"),
        (len(set(manifest.classes)) != len(manifest.classes), "classes"),
        (not 0 <= manifest.plan.cut < max(len(manifest.plan.layers), 1), "plan.cut"),
        (len(names) != len(manifest.methods), "methods"),
        (any(method.batch < 1 for method in manifest.methods), "methods"),
        (any(not names <= set(one.files) for one in manifest.formats.values()), "formats"),
        (any(set(one.files.values()) - known for one in manifest.formats.values()), "formats"),
    ):
        if wrong:
            raise DfedgeError(f"{path}: its field {field} makes no sense; {AGAIN}")
