"""manifest.json: what a bundle says of itself, read and checked.

What its fields say apart is checked here and in their types; what two of them say of one thing,
in `dfedge.agreement`.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from dfedge.data.catalogue import Cut
from dfedge.data.inputs import InputRule, decoded
from dfedge.data.reading import Reading
from dfedge.errors import DfedgeError
from dfedge.limits import Count, Fraction, Hash, MaybeHash, Natural
from dfedge.plan import Plan

T = TypeVar("T")

VERSION = 5

SEMANTICS_VERSION = 8
"""Raised whenever a program of the same bundle would hold other bits: see `dfedge.int8`."""

RUN = "run.json"
"""Of a RUN folder, which is often given in the place of a bundle."""
MANIFEST, STATE, GOLDEN = "manifest.json", "state.safetensors", "golden.safetensors"
MEMORY, TRUNK, KNOWN = "memory.json", "trunk.safetensors", "known.safetensors"
BLANK = "0" * 64
AGAIN = "copy or export the bundle again"


Kind = Annotated[str, Meta(pattern=r"^(train|infer|features|train_from)\Z")]
Exponent = Annotated[int, Meta(ge=-64, le=64)]
Lineage = MaybeHash
"""Of `dfedge.learn.lineage`."""


class FileRecord(msgspec.Struct, frozen=True):
    """Size and SHA-256 of one file."""

    bytes: Count
    sha256: Hash


class MethodRecord(msgspec.Struct, frozen=True):
    """An entry point: ``kind`` train, infer, features or train_from; its fixed batch size."""

    name: str
    kind: Kind
    batch: Annotated[int, Meta(ge=1, le=1 << 20)]


class MemoryPlan(msgspec.Struct, frozen=True):
    """Bytes of RAM that a method is planned to need: temporaries, and state kept between calls."""

    arena_bytes: Count
    state_bytes: Count


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
    verified_steps: Count


class Exponents(msgspec.Struct, frozen=True):
    """Of one layer: integer = real * 2^exponent; one of each for every convolution."""

    weights: list[Exponent]
    activations: list[Exponent]


Part = Literal["all", "upper", "anchors", "nothing"]
"""What of a net learns: all layers that were to, the upper ones of them, anchors alone."""


class Look(msgspec.Struct, frozen=True):
    """One look of the trial of learning: accuracy on held-out samples after so many presentations.

    Attributes:
        own, changed: of the net's own kind of data, and of a mild change of them, each after
            learning its own kind.
    """

    presented: Count
    own: Fraction
    changed: Fraction


class Learning(msgspec.Struct, frozen=True):
    """What learning did when it was tried at export (`dfedge.exporters.learning`).

    Attributes:
        tried: whether it was.
        learns: which part of the net.
        frozen: the first layer that learns.
        slower: how many times the measured rates were halved.
        undertrained: the net still got better on its own data, so its pace never rests.
        change: what was changed, in words.
        held_out: samples that judged.
        curve: looks on the way, the first from before it learned.
    """

    tried: bool = False
    learns: Part = "all"
    frozen: Count = 0
    slower: Count = 0
    undertrained: bool = False
    change: str = ""
    held_out: Count = 0
    curve: list[Look] = []


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far from normal a sample may be (`dfedge.device.normal`).

    Attributes:
        distance: the largest integer distance of a normal sample.
        false_alarms: the fraction of normal samples that may lie beyond it.
        held_back: normal samples that it was set by, which nothing was trained on.
    """

    distance: Count
    false_alarms: Fraction
    held_back: Count


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """manifest.json.

    Attributes:
        classes: names of the classes that are live at first; the plan may have more rows.
        input: the rule that brings any sample to the programs' input.
        data: the data set (or path) that the net was trained on.
        state_names: in the order in which programs take them.
        state_sha256: digest of the first state.
        golden_sha256: digest of the state after the golden batches.
        test_accuracy: of the fake-quantised net on the host's test split, which the programs equal.
        recipe: the calibration recipe's name.
        budget_bytes: that arena and state were held to; 0 in bundles that know none.
        learning: what the trial of learning found.
        lineage: of the run that it was exported from: bundles of one lineage take each other's
            state; empty in bundles that know none.
        bundle_version: that its maker gave it, to tell newer from older; 0: none.
        cut: how the data that it was trained on were cut in train and test.
        reading: what those data do not say themselves.
        temperature: of the softmax that makes confidence of scores (`dfedge.device.confidence`); 0:
            not known.
        normal: where the classes are modes of normal operation: what is still normal.
        digest: of the manifest itself; see `seal`.
    """

    version: int
    semantics_version: int
    dfedge_version: str
    net: str
    rule: str
    data: str
    classes: tuple[str, ...]
    input: InputRule
    input_exponent: Exponent
    plan: Plan
    exponents: list[Exponents]
    methods: list[MethodRecord]
    state_names: list[str]
    formats: dict[str, FormatRecord]
    state_sha256: Hash
    golden_sha256: Hash
    test_accuracy: Fraction
    recipe: str
    target: str
    files: dict[str, FileRecord]
    budget_bytes: Count = 0
    learning: Learning = Learning()
    lineage: Lineage = ""
    bundle_version: Natural = 0
    cut: Cut | None = None
    reading: Reading = Reading()
    temperature: Natural = 0
    normal: Threshold | None = None
    digest: str = ""

    def batches(self, kind: str) -> list[int]:
        """Batch sizes of the methods of a kind, largest first."""
        return sorted((m.batch for m in self.methods if m.kind == kind), reverse=True)


class Head(msgspec.Struct, frozen=True):
    """What is read of a manifest first: these fields mean the same in every version."""

    version: int
    semantics_version: int
    digest: str = ""
    bundle_version: int = 0


def parse_head(raw: bytes, folder: Path) -> Head:
    """Read what a manifest of any version says; ``folder`` is for the error's text.

    Raises:
        DfedgeError: no manifest.
    """
    return _decode(raw, _HEAD, folder / MANIFEST)


def seal(manifest: Manifest) -> bytes:
    """manifest.json's bytes, with their own digest filled in."""
    blank = msgspec.structs.replace(manifest, version=VERSION, digest=BLANK)
    raw = msgspec.json.format(msgspec.json.encode(blank))
    return raw.replace(BLANK.encode(), hashlib.sha256(raw).hexdigest().encode())


def parse_manifest(raw: bytes, folder: Path) -> Manifest:
    """Read and check manifest.json's bytes; ``folder`` is for the error's text.

    Raises:
        DfedgeError: of another version, changed since export, or without sense.
    """
    path, head = folder / MANIFEST, parse_head(raw, folder)
    if head.version > VERSION or head.semantics_version > SEMANTICS_VERSION:
        remedy = "a newer dfedge made it: update dfedge"
    else:
        remedy = "export again"
    found = (head.version, head.semantics_version)
    if found != (VERSION, SEMANTICS_VERSION):
        raise DfedgeError(
            f"{folder}: bundle version {found[0]}, semantics {found[1]}; this dfedge reads "
            f"{VERSION} and {SEMANTICS_VERSION}; {remedy}"
        )
    digest = head.digest.encode()
    blanked = raw.replace(digest, BLANK.encode()) if digest else raw
    if hashlib.sha256(blanked).hexdigest().encode() != digest:
        raise DfedgeError(f"{path}: changed since export (its digest does not match); {AGAIN}")
    return _decode(raw, _MANIFEST, path)


# Made at import, by one thread: msgspec crashes where two threads are the first to need one type.
_HEAD, _MANIFEST = msgspec.json.Decoder(Head), msgspec.json.Decoder(Manifest, dec_hook=decoded)


def _decode(raw: bytes, decoder: msgspec.json.Decoder[T], path: Path) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DfedgeError(f"{path}: cannot be read: {error}; export again") from error
