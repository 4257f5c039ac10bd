"""A training's metrics as TensorBoard reads them: one file of events, written without TensorBoard.

The form is TFRecord: a record is its length, a checksum of it, its bytes, and a checksum of them.
These bytes are a protocol buffer `tensorflow.Event`, of which a scalar needs five fields.
"""

import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dfedge.atomic import write_out

NAME = "events.out.tfevents.0.dfedge"
VERSION = b"brain.Event:2"
POLYNOMIAL = 0x82F63B78
"""Castagnoli's, its bits turned round: CRC-32C."""


def write_board(rows: Iterable[dict[str, Any]], folder: Path) -> Path:
    """Write the rows of a run's ``metrics.jsonl``; the file's path.

    Every number of a row becomes a scalar, ``float/loss/layer0`` and the like, at its epoch; the
    accuracy on the test split stands at the phase's last epoch.

    Raises:
        DfedgeError: a place that cannot be written.
    """
    first = _event(file_version=VERSION)
    records = [first, *(_event(tag, value, step) for tag, value, step in scalars(rows))]
    path = folder / NAME
    write_out(path, b"".join(map(_record, records)))
    return path


def scalars(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, float, int]]:
    """(name, value, epoch) of every number."""
    last = 0
    for row in rows:
        last = row.get("epoch", last)
        for key, value in row.items():
            named = {key: value}
            if isinstance(value, list) and key != "counted":
                named = {f"{key}/layer{i}": one for i, one in enumerate(value)}
            for name, one in named.items():
                if isinstance(one, int | float) and key != "epoch":
                    yield f"{row['phase']}/{name}", float(one), last


def _event(tag: str = "", value: float = 0.0, step: int = 0, *, file_version: bytes = b"") -> bytes:
    """``Event{1: wall_time, 2: step, 3: file_version, 5: Summary{1: Value{1: tag, 2: value}}}``."""
    head = b"\x09" + struct.pack("<d", time.time())
    if file_version:
        return head + _bytes(3, file_version)
    scalar = _bytes(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
    return head + b"\x10" + _varint(step) + _bytes(5, _bytes(1, scalar))


def _bytes(field: int, value: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    """CRC-32C, turned and shifted as TFRecord has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
