"""A learned state as one file that travels: safetensors, with its record and digest as metadata.

    metadata "dfedge"   JSON: the fields of `Record`, version, state_sha256

Version 1 had neither version nor digest, and was what a state folder held (`earlier`).
"""

from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from dfedge.device.store.record import StateRecord
from dfedge.errors import DfedgeError
from dfedge.state import State, digest, metadata, to_bytes

VERSION = 2


class Meta(StateRecord, frozen=True):
    """A record, and what the file says of itself."""

    version: int = 1
    state_sha256: str | None = None


_META = msgspec.json.Decoder(Meta)  # at import, as in `dfedge.manifest`


def write(state: State, record: StateRecord) -> bytes:
    """The file's bytes."""
    meta = Meta(**msgspec.structs.asdict(record), version=VERSION, state_sha256=digest(state))
    return to_bytes(state, {"dfedge": msgspec.json.encode(meta).decode()})


def parse(raw: bytes, where: Path) -> tuple[dict[str, NDArray[Any]], StateRecord]:
    """Read the file's bytes.

    Raises:
        DfedgeError: damaged, changed since it was written, or of a newer dfedge.
    """
    try:
        meta = _META.decode(metadata(raw))
        state = load(raw)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DfedgeError(
            f"{where}: cannot be read as a state ({type(error).__name__}: {error})"
        ) from error
    if meta.version > VERSION:
        raise DfedgeError(
            f"{where}: version {meta.version}, this dfedge reads up to {VERSION}; update dfedge"
        )
    if meta.state_sha256 not in (None, digest(state)):
        raise DfedgeError(f"{where}: changed since it was written (its SHA-256 does not match)")
    fields = {name: getattr(meta, name) for name in StateRecord.__struct_fields__}
    return state, StateRecord(**fields)
