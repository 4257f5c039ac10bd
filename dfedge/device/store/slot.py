"""One slot file: a whole learned state, and a checksum over every byte of it.

    offset  bytes  what
    0       8      magic: 89 "DFSLOT" 0A
    8       4      version (little-endian, as all numbers here)
    12      4      h, length of the header
    16      32     SHA-256 of bytes 0..15 and the header
    48      h      header, JSON: sequence, record, and of every tensor: name, dtype, shape, sha256
    48 + h  ...    the tensors' bytes in the header's order (by name), nothing between or after

The first 48 bytes mean the same in every version, so that a slot of a newer dfedge can be told from
a damaged one.  The sequence number grows by one with every save: no clock is asked which is newer.
"""

import hashlib
import math
import struct
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from dfedge.device.store.record import StateRecord
from dfedge.errors import DfedgeError

MAGIC = b"\x89DFSLOT\n"
VERSION = 2
"""1 was a safetensors file without checksums: `dfedge.device.store.earlier` reads it."""

PREFIX = struct.Struct("<8sII32s")
MAX_HEADER_BYTES = 1 << 24


class DamagedSlotError(DfedgeError):
    """Bytes that are not what a save wrote."""


class NewerError(DfedgeError):
    """A whole slot that a newer dfedge wrote."""


class TensorRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name, type, shape and SHA-256 of one tensor's bytes."""

    name: str
    dtype: Literal["int8", "uint8", "int16", "int32", "int64"]
    shape: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=8)]
    sha256: str


class SlotHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a slot but its tensors' bytes."""

    sequence: Annotated[int, Meta(ge=1)]
    record: StateRecord
    tensors: list[TensorRecord]


_HEADER = msgspec.json.Decoder(SlotHeader)  # at import, as in `dfedge.manifest`


@dataclass(frozen=True)
class Slot:
    """What a slot file holds: the state's tensors, and what `remembered` adds to them."""

    sequence: int
    record: StateRecord
    tensors: dict[str, NDArray[Any]]


def encode(slot: Slot) -> bytes:
    """A slot file's bytes."""
    # In name order: safetensors hands tensors out in any, and equal states shall be equal files.
    arrays = {name: _little(slot.tensors[name]) for name in sorted(slot.tensors)}
    tensors = [
        TensorRecord(name, str(value.dtype), list(value.shape), _sha(value.tobytes()))  # type: ignore[arg-type]
        for name, value in arrays.items()
    ]
    header = msgspec.json.encode(SlotHeader(slot.sequence, slot.record, tensors))
    start = struct.pack("<8sII", MAGIC, VERSION, len(header))
    digest = hashlib.sha256(start + header).digest()
    return b"".join([start, digest, header, *(value.tobytes() for value in arrays.values())])


def decode(raw: bytes) -> Slot:
    """Read a slot file's bytes, every one of them checked.

    Raises:
        DamagedError: naming what does not fit.
        NewerError: written by a newer dfedge.
    """
    if len(raw) < PREFIX.size:
        raise DamagedSlotError(f"{len(raw)} bytes are too short")
    magic, version, length, digest = PREFIX.unpack_from(raw)
    header = raw[PREFIX.size : PREFIX.size + length]
    if magic != MAGIC:
        raise DamagedSlotError(f"starts with {magic.hex()}, should be {MAGIC.hex()}")
    if length > MAX_HEADER_BYTES or hashlib.sha256(raw[:16] + header).digest() != digest:
        raise DamagedSlotError("its header's checksum does not match")
    if version != VERSION:
        kind = NewerError if version > VERSION else DamagedSlotError
        raise kind(f"version {version}, this dfedge reads {VERSION}; update dfedge")
    try:
        fields = _HEADER.decode(header)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise DamagedSlotError(f"its header cannot be read ({error})") from error
    return Slot(fields.sequence, fields.record, _tensors(fields, raw, PREFIX.size + length))


def _tensors(header: SlotHeader, raw: bytes, start: int) -> dict[str, NDArray[Any]]:
    state: dict[str, NDArray[Any]] = {}
    for tensor in header.tensors:
        dtype = np.dtype(tensor.dtype).newbyteorder("<")
        part = raw[start : start + math.prod(tensor.shape) * dtype.itemsize]
        if _sha(part) != tensor.sha256:
            raise DamagedSlotError(f"tensor {tensor.name}: its checksum does not match")
        try:
            value = np.frombuffer(part, dtype).reshape(tensor.shape)
        except ValueError as error:
            raise DamagedSlotError(f"tensor {tensor.name}: {error}") from error
        state[tensor.name] = value.astype(dtype.newbyteorder("="))
        start += len(part)
    if start != len(raw):
        raise DamagedSlotError(f"{len(raw) - start} bytes too many")
    return state


def _little(value: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(value, order="C")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
