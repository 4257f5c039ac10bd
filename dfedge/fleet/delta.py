"""A delta: what one device learned since the base, as one file that travels; and a step, which is
how far the next base is from the base, in the same form.

    offset  bytes  what
    0       8      magic: 89 "DFLEET" 0A
    8       4      version (little-endian, as all numbers here)
    12      4      n, bytes of the body
    16      32     SHA-256 of bytes 0..15 and the body
    48      n      the body, compressed with zlib:
                       4 bytes   h, length of the header
                       h bytes   header, JSON (`Header`)
                       ...       the low bytes of all differences, then their high bytes
    48 + n  0, 64  perhaps: an Ed25519 signature of all bytes before it (`dfedge.fleet.signed`)

A difference d is stored as 2 d, or -2 d - 1 where it is negative: most then are small, and their
high bytes are zeros.  Differences of rows of new classes are to zeros, so that the row is there
whole, whatever spare row it came to on this device.
"""

import hashlib
import struct
import zlib
from dataclasses import dataclass
from math import prod
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from dfedge.errors import DfedgeError
from dfedge.limits import MAX_COUNT, Count, Hash, Int32, MaybeHash

MAGIC, VERSION = b"\x89DFLEET\n", 1
PREFIX = struct.Struct("<8sII32s")
SIGNATURE_BYTES = 64
FURTHEST = 254
"""Between two weights, which lie in -127..127."""
MOST_BYTES = 1 << 28
"""Of a body, decompressed, where no base is known that says how large it may be."""
MOST_HEADER_BYTES = 1 << 20

Moves = dict[str, NDArray[np.int16]]


class DamagedDeltaError(DfedgeError):
    """Bytes that no device wrote."""


class TensorPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name and shape of a tensor that travels."""

    name: str
    shape: Annotated[list[Annotated[int, Meta(ge=0, le=1 << 31)]], Meta(max_length=8)]


class DeltaHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a delta but its differences.

    Attributes:
        base_sha256: digest of the state that the device began with (`dfedge.state.digest`).
        bundle_sha256: that the state belongs to.
        device: a name that its owner gave it; of one device one delta counts.
        samples: presentations learned since the base: its weight.
        steps: update steps since the base.
        known: classes that the base had added to the bundle's, in the order of their rows.
        new: classes that were added since, likewise; their rows follow.
        guarded: its rates are those under a guard.
        steering: tensors that are not summed but steer learning: name -> values.
        parts: what is summed, in the order of the differences.
        makes: of a step from one base to the next, the digest of the next; else empty.
    """

    base_sha256: Hash
    bundle_sha256: Hash
    samples: Annotated[int, Meta(ge=1, le=MAX_COUNT)]
    steps: Count
    parts: list[TensorPart]
    steering: dict[str, list[Int32]]
    device: Annotated[str, Meta(max_length=255)] = ""
    known: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    guarded: bool = False
    makes: MaybeHash = ""


_HEADER = msgspec.json.Decoder(DeltaHeader)  # at import, as in `dfedge.manifest`


@dataclass(frozen=True)
class Delta:
    """A delta as it was read.

    Attributes:
        moves: int16, by name.
        sha256: of the file without its signature.
        bytes: of the whole file.
    """

    header: DeltaHeader
    moves: Moves
    sha256: str
    bytes: int


def encode(header: DeltaHeader, moves: Moves) -> bytes:
    """A delta's bytes, not signed.

    Args:
        moves: of every part of the header.
    """
    flat = [moves[part.name].astype(np.int32).reshape(-1) for part in header.parts]
    d = np.concatenate([np.zeros(0, np.int32), *flat])
    stored = np.where(d < 0, -2 * d - 1, 2 * d).astype("<u2").view(np.uint8).reshape(-1, 2)
    text = msgspec.json.encode(header)
    raw = len(text).to_bytes(4, "little") + text + stored.T.tobytes()
    body = zlib.compress(raw, 9)
    start = struct.pack("<8sII", MAGIC, VERSION, len(body))
    return start + hashlib.sha256(start + body).digest() + body


def decode(raw: bytes, most: int = MOST_BYTES) -> Delta:
    """Read a delta; a signature behind it is not judged here.

    Args:
        most: bytes of a body, decompressed.

    Raises:
        DamagedError: naming what does not fit.
    """
    header, rest = _opened(raw, most)
    counts = [prod(part.shape) for part in header.parts]
    if len(rest) != 2 * sum(counts):
        raise DamagedDeltaError(
            f"{len(rest)} bytes of differences; its parts have {2 * sum(counts)}"
        )
    planes = np.frombuffer(rest, np.uint8).reshape(2, -1).astype(np.int32)
    stored = planes[0] | planes[1] << 8
    d = np.where(stored & 1, -(stored >> 1) - 1, stored >> 1).astype(np.int16)
    if d.size and max(d.max(), -d.min()) > FURTHEST:
        raise DamagedDeltaError(f"a difference of {max(d.max(), -d.min())}; allowed: {FURTHEST}")
    moves, at = Moves(), 0
    for part, count in zip(header.parts, counts, strict=True):
        moves[part.name] = d[at : at + count].reshape(part.shape)
        at += count
    return Delta(header, moves, hashlib.sha256(frame(raw)).hexdigest(), len(raw))


def read_header(raw: bytes) -> DeltaHeader:
    """The header alone, of a delta whose bytes are whole.

    Raises:
        DamagedError: as `decode`.
    """
    return _opened(raw, MOST_BYTES)[0]


def frame(raw: bytes) -> bytes:
    """A delta's bytes without a signature.

    Raises:
        DamagedError: bytes that end before they should, or too late.
    """
    if len(raw) < PREFIX.size:
        raise DamagedDeltaError(f"{len(raw)} bytes are too short")
    magic, version, length, _ = PREFIX.unpack_from(raw)
    if magic != MAGIC:
        raise DamagedDeltaError(f"starts with {magic.hex()}, should be {MAGIC.hex()}")
    if version != VERSION:
        raise DamagedDeltaError(
            f"version {version}, this dfedge reads {VERSION}; update the older one"
        )
    beyond = len(raw) - PREFIX.size - length
    if beyond not in (0, SIGNATURE_BYTES):
        raise DamagedDeltaError(f"{abs(beyond)} bytes too {'many' if beyond > 0 else 'few'}")
    return raw[: PREFIX.size + length]


def _opened(raw: bytes, most: int) -> tuple[DeltaHeader, bytes]:
    """The header, and the bytes of the differences."""
    framed = frame(raw)
    digest, body = framed[16:48], framed[PREFIX.size :]
    if hashlib.sha256(framed[:16] + body).digest() != digest:
        raise DamagedDeltaError("its checksum does not match")
    try:
        unpacker = zlib.decompressobj()
        inside = unpacker.decompress(body, most)
    except zlib.error as error:
        raise DamagedDeltaError(f"cannot be decompressed ({error})") from error
    if unpacker.unconsumed_tail or not unpacker.eof or unpacker.unused_data:
        raise DamagedDeltaError(f"decompressed it is not whole, or above {most:,} bytes")
    length = int.from_bytes(inside[:4], "little")
    if length > min(MOST_HEADER_BYTES, len(inside) - 4):
        raise DamagedDeltaError("its header is longer than what is there")
    try:
        header = _HEADER.decode(inside[4 : 4 + length])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DamagedDeltaError(f"its header cannot be read ({error})") from error
    if len({part.name for part in header.parts}) != len(header.parts):
        raise DamagedDeltaError("a part occurs twice")
    return header, inside[4 + length :]
