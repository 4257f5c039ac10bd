"""Numeric arrays of a MATLAB 5 file, as the SVHN's are: read here, because SciPy's reader can be
made to crash the process by a file of 245 bytes (found by examples/experiments/fuzz.py).

A file is 128 bytes of header, which end in 00 01 "IM", then elements: type and length (uint32
each), then so many bytes, padded to 8.  An element of at most 4 bytes may be small: length and type
share one uint32.  A matrix (14), perhaps packed by zlib (15), is four elements: flags, dimensions,
name, values.  (MathWorks, "MAT-File Format", 2023, chapter 1)
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.errors import foreign
from dfedge.regular import read_bytes

HEADER_BYTES = 128
MATRIX, PACKED = 14, 15
MAX_UNPACKED_BYTES = 1 << 30
MAX_AXES = 8
TYPES = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8"}
"""How values are stored."""

CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
"""What they are."""


def read_arrays(path: Path, wanted: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The wanted arrays of a file, by name.

    Raises:
        DfedgeError: unreadable, damaged, or without one of them.
    """
    with foreign(path, "a MATLAB 5 file", "fetch the file again"):
        raw = read_bytes(path)
        if raw[124:HEADER_BYTES] != b"\x00\x01IM":
            raise ValueError("the header does not end in 00 01 IM")
        found = {}
        for kind, data in _elements(raw[HEADER_BYTES:]):
            if kind == PACKED:
                kind, data = next(_elements(_unpack(data)))
            if kind == MATRIX:
                named = _matrix(data, wanted)
                if named is not None:
                    found[named[0]] = named[1]
        missing = [name for name in wanted if name not in found]
        if missing:
            raise ValueError(f"it holds no {missing[0]}")
        return found


def _elements(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of one element after the other."""
    start = 0
    while start < len(raw):
        kind, length = struct.unpack_from("<II", raw, start)
        if kind >> 16:
            length, kind = kind >> 16, kind & 0xFFFF
            data, start = raw[start + 4 : start + 4 + min(length, 4)], start + 8
        else:
            data, start = raw[start + 8 : start + 8 + length], start + 8 + length
            start += 0 if kind == PACKED else -length % 8
        if len(data) != length:
            raise ValueError(f"an element of {length:,} bytes is cut off")
        yield kind, data


def _unpack(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(data, MAX_UNPACKED_BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError(f"it unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
    return raw


def _matrix(data: bytes, wanted: tuple[str, ...]) -> tuple[str, NDArray[Any]] | None:
    """Name and array of a matrix, in MATLAB's order of axes (the first runs fastest)."""
    parts = _elements(data)
    flags, sizes, name = (next(parts)[1] for _ in range(3))
    text = name.decode("latin-1")
    if text not in wanted:
        return None
    shape = np.frombuffer(sizes, "<i4").tolist()
    kind, values = next(parts)
    if flags[0] not in CLASSES or kind not in TYPES or not 1 <= len(shape) <= MAX_AXES:
        raise ValueError(f"{text} is not an array of numbers")
    flat = np.frombuffer(values, TYPES[kind])
    if min(shape) < 1 or math.prod(shape) != len(flat):
        raise ValueError(f"{text} has {len(flat):,} values for the shape {shape}")
    return text, flat.astype(CLASSES[flags[0]]).reshape(shape, order="F")
