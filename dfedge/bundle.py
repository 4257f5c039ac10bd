"""A bundle: the folder that goes to the device and never changes after export.

    manifest.json          everything below, described, with the hash of every other file
    state.safetensors      the state to start from
    golden.safetensors     a few real batches and the exact integers that they must give
    trunk.safetensors      perhaps: the constants of a frozen trunk (`dfedge.trunk`)
    known.safetensors      perhaps: what a guard asks for: samples of what the net knows, rates
    memory.json            what each method needs of memory, position by position
    onnx/METHOD.onnx       one functional program a method
    executorch/program.pte all methods over one shared state
    manifest.sig           perhaps: who made it (`dfedge.integrity.signature`)

The SHA-256 of manifest.json names the bundle: it covers every byte of it.  The manifest carries a
digest of its own as well: SHA-256 of its bytes, taken while the digest's 64 letters are zeros.  All
is checked before anything is loaded, because a flipped bit in a program may run on and be silently
wrong, and nothing else may lie in the folder.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dfedge import agreement, footprint, state
from dfedge.errors import DfedgeError, unknown_name
from dfedge.footprint import Footprints
from dfedge.integrity import rollback, signature
from dfedge.integrity.folder import check_folder
from dfedge.manifest import (
    AGAIN,
    GOLDEN,
    KNOWN,
    MANIFEST,
    MEMORY,
    RUN,
    STATE,
    TRUNK,
    FileRecord,
    FormatRecord,
    Head,
    Manifest,
    parse_head,
    parse_manifest,
)
from dfedge.regular import fault, open_file, read_bytes

LEARNING = ("train", "train_from")
"""Kinds of methods that take labels and rewrite the state."""

MAX_MANIFEST_BYTES = 1 << 24


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
    def open(
        folder: Path,
        require_signature: str | Path | None = None,
        min_version: int | None = None,
    ) -> "Bundle":
        """Read the manifest and check it, every file's name, size and hash, and that all agree.

        Args:
            require_signature: a public key (PEM); a bundle that it did not sign is refused.  None:
                the one that the variable DFEDGE_REQUIRE_SIGNATURE names, where it is set.
            min_version: a bundle of a lower version is refused.  None: the one that the variable
                DFEDGE_MIN_VERSION holds, where it is set.

        Raises:
            UsageError: an empty key, or a version that is not a number.
            DfedgeError: no bundle, one of a newer dfedge, a file that is missing, changed, unknown
                or a link, statements that do not agree (`dfedge.agreement`), not signed by that
                key, or of a lower version.
        """
        least = rollback.required(min_version)
        opened = Bundle._open(folder, signature.required(require_signature))
        rollback.check(folder, opened.manifest.bundle_version, least)
        return opened

    @staticmethod
    def open_own(folder: Path) -> "Bundle":
        """As `open`, for those who make a bundle: neither signature nor version is asked for."""
        return Bundle._open(folder, None)

    @staticmethod
    def _open(folder: Path, key: Path | None) -> "Bundle":
        raw = _read_manifest(folder)
        if key is not None:
            signature.check(folder, raw, key)
        manifest = read_manifest(raw, folder)
        files = {name: (record.bytes, record.sha256) for name, record in manifest.files.items()}
        check_folder(folder, files, frozenset({MANIFEST, signature.SIGNATURE}), AGAIN)
        opened = Bundle(folder, manifest, hashlib.sha256(raw).hexdigest())
        parts = opened.initial_state(), opened.golden(), opened.known()
        agreement.check_files(manifest, *parts, folder / MANIFEST)
        trunk = manifest.plan.trunk
        misfit = trunk.misfit(state.layout(folder / TRUNK)) if trunk else None
        if misfit is not None:
            raise DfedgeError(f"{folder / TRUNK}: not the plan's {misfit}; {AGAIN}")
        return opened

    def sign(self, key: Path) -> None:
        """Write the signature of a private key (PEM) beside the manifest.

        Raises:
            DfedgeError: no such key, or the bundle was changed since it was opened.
        """
        signature.sign(self.folder, self._manifest(), key)

    def check_signature(self, key: str | Path) -> None:
        """Refuse a bundle that the key (public, PEM) did not sign.

        Raises:
            UsageError: an empty key.
            DfedgeError: not signed by it, or changed since it was opened.
        """
        required = signature.required(key)
        assert required is not None
        signature.check(self.folder, self._manifest(), required)

    def check_version(self, min_version: int) -> None:
        """Refuse a bundle of a lower version.

        Raises:
            UsageError: a number below 0.
            DfedgeError: it is lower.
        """
        rollback.check(self.folder, self.manifest.bundle_version, rollback.required(min_version))

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
        """What learning under a guard asks for; nothing in a bundle that brings no samples.

        ``replay.x`` int8 [R, H, W, C] and ``replay.y`` int32 [R], of its training data, as many of
        each class as there are; ``judge.x`` and ``judge.y``, of its own kind of data, that it was
        never trained on.  ``weight_shift`` int8 [C] and, of a form with anchors, ``anchor_shift``
        int8 [L]: the rates as they were measured, which the trial of learning had no part in.
        """
        return self._arrays(KNOWN) if self.brings_samples else {}

    @property
    def brings_samples(self) -> bool:
        """Whether `known` holds any."""
        return KNOWN in self.manifest.files

    def _arrays(self, name: str) -> dict[str, NDArray[Any]]:
        return state.parse(self._bytes(name), self.folder / name)

    def _bytes(self, name: str) -> bytes:
        """A file's content, its hash checked again on the very bytes that are used."""
        path = self.folder / name
        try:
            raw = read_bytes(path)
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


def read_manifest(raw: bytes, folder: Path) -> Manifest:
    """Read manifest.json's bytes and compare their fields; ``folder`` is for the error's text.

    Raises:
        DfedgeError: of another version, changed since export, or without sense.
    """
    manifest = parse_manifest(raw, folder)
    agreement.check_manifest(manifest, folder / MANIFEST)
    return manifest


def read_head(folder: Path) -> tuple[Head, str]:
    """What a bundle of any version says of itself, and its SHA-256; nothing else is checked.

    Raises:
        DfedgeError: no bundle.
    """
    raw = _read_manifest(folder)
    return parse_head(raw, folder), hashlib.sha256(raw).hexdigest()


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    try:
        if path.is_symlink():
            raise DfedgeError(f"{path}: links are not allowed in a bundle; {AGAIN}")
        with open_file(path) as file:
            raw = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        run = folder if (folder / RUN).is_file() else None
        raise DfedgeError(
            f"{folder} is {'a RUN and not a bundle' if run else 'not a bundle'} "
            f"({fault(path, error)}); make one with: dfedge export {run or 'RUN'} --format onnx "
            f"--out {'BUNDLE' if run else folder}"
        ) from error
    if len(raw) > MAX_MANIFEST_BYTES:
        raise DfedgeError(f"{path}: larger than {MAX_MANIFEST_BYTES:,} bytes; {AGAIN}")
    return raw
