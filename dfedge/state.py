"""Learned state as every room sees it: a plain, ordered set of named integer arrays."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from dfedge.errors import DfedgeError
from dfedge.regular import open_file, read_bytes

State = Mapping[str, NDArray[Any]]

TYPES = {"I8": "int8", "U8": "uint8", "I32": "int32"}
"""As safetensors calls them -> as NumPy does."""
SHIFTS = ("weight_shift", "anchor_shift")
"""Tensors of the update shifts, int8: one more is half the rate.  A plane form has no anchors'."""
DEAD_SCORE = -(1 << 30)
"""The score of a class that is not live: below every score that a program may give."""
MOVED = (".weight", ".anchors")
"""How the names of tensors end that learning moves; all others steer it."""


def digest(state: State) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor, in name order."""
    sha = hashlib.sha256()
    for name in sorted(state):
        value = np.asarray(state[name], order="C")
        sha.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
        sha.update(value.tobytes())
    return sha.hexdigest()


def tensor_digest(value: NDArray[Any]) -> NDArray[np.uint8]:
    """SHA-256 of one tensor's bytes: uint8 [32]."""
    return np.frombuffer(hashlib.sha256(np.asarray(value, order="C").tobytes()).digest(), np.uint8)


def size_bytes(state: State) -> int:
    """Bytes of all tensors together."""
    return sum(value.nbytes for value in state.values())


def under(state: State, head: str) -> dict[str, NDArray[Any]]:
    """The tensors named ``head.NAME``, by NAME."""
    head += "."
    return {n.removeprefix(head): value for n, value in state.items() if n.startswith(head)}


def to_bytes(state: State, meta: dict[str, str] | None = None) -> bytes:
    """As a safetensors file."""
    return save({name: np.asarray(value, order="C") for name, value in state.items()}, meta)


def metadata(raw: bytes) -> str:
    """What `to_bytes` kept as ``dfedge`` in a safetensors file's bytes.

    Raises:
        ValueError, KeyError, TypeError: no such file, or nothing of that name in it.
    """
    length = int.from_bytes(raw[:8], "little")
    text: str = json.loads(raw[8 : 8 + length])["__metadata__"]["dfedge"]
    return text


def read(path: Path) -> dict[str, NDArray[Any]]:
    """From a safetensors file.

    Raises:
        DfedgeError: missing or damaged.
    """
    try:
        raw = read_bytes(path)
    except OSError as error:
        raise DfedgeError(f"{path}: cannot be read as a state ({error})") from error
    return parse(raw, path)


def parse(raw: bytes, where: Path) -> dict[str, NDArray[Any]]:
    """From a safetensors file's bytes.

    Raises:
        DfedgeError: damaged.
    """
    try:
        return load(raw)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DfedgeError(f"{where}: cannot be read as a state ({error})") from error


def layout(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> type and shape of a safetensors file's tensors, which are not read.

    Raises:
        DfedgeError: missing or damaged.
    """
    try:
        with open_file(path), safe_open(path, "numpy") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {
                name: (TYPES.get(part.get_dtype(), part.get_dtype()), tuple(part.get_shape()))
                for name, part in parts.items()
            }
    except (SafetensorError, OSError) as error:
        raise DfedgeError(f"{path}: cannot be read ({error})") from error


def check_same_layout(
    state: State, expected: State, where: Path, remedy: str = "delete the state to start anew"
) -> None:
    """Refuse a state whose names, types or shapes are not the bundle's.

    Args:
        remedy: what to do next, for the error.

    Raises:
        DfedgeError: naming the first difference.
    """
    for name in sorted(state.keys() | expected.keys()):
        got, want = state.get(name), expected.get(name)
        if got is None or want is None:
            found = "is missing" if got is None else "is unknown to the bundle"
            raise DfedgeError(f"{where}: tensor '{name}' {found}; {remedy}")
        if got.dtype != want.dtype or got.shape != want.shape:
            raise DfedgeError(
                f"{where}: tensor '{name}' is {got.dtype} {got.shape}, the bundle's is "
                f"{want.dtype} {want.shape}; {remedy}"
            )
