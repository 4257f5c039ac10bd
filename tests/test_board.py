"""Metrics as TensorBoard reads them: records, checksums, events and their scalars."""

import struct
from collections.abc import Iterator
from pathlib import Path

from dfedge.learn.board import _checksum, scalars, write_board

ROWS = [
    {"phase": "float", "epoch": 1, "loss": [0.5, 0.25], "active": [0.5, None],
     "train_accuracy": 0.75},
    {"phase": "float", "epoch": 300, "loss": [0.125, 0.0], "train_accuracy": 1.0},
    {"phase": "float", "counted": [0, 1], "test_accuracy": 0.5},
]  # fmt: skip


def records(raw: bytes) -> Iterator[bytes]:
    """Of TFRecord; every checksum is compared."""
    while raw:
        (length,) = struct.unpack("<Q", raw[:8])
        data = raw[12 : 12 + length]
        assert raw[8:12] == _checksum(raw[:8]) and raw[12 + length : 16 + length] == _checksum(data)
        yield data
        raw = raw[16 + length :]


def fields(data: bytes) -> dict[int, bytes | int]:
    """Of one message of protocol buffers."""
    found: dict[int, bytes | int] = {}
    while data:
        field, kind = data[0] >> 3, data[0] & 7
        data = data[1:]
        if kind in (1, 5):
            size = 8 if kind == 1 else 4
            found[field], data = data[:size], data[size:]
            continue
        number = shift = 0
        while True:
            byte, data = data[0], data[1:]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if kind == 0:
            found[field] = number
        else:
            found[field], data = data[:number], data[number:]
    return found


def test_a_checksum_is_crc_32c() -> None:
    # The check value of CRC-32C, turned by 15 and moved, as TFRecord has it.
    crc = 0xE3069283
    assert _checksum(b"123456789") == struct.pack(
        "<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    )


def test_every_number_is_a_scalar_at_its_epoch() -> None:
    assert list(scalars(ROWS)) == [
        ("float/loss/layer0", 0.5, 1), ("float/loss/layer1", 0.25, 1),
        ("float/active/layer0", 0.5, 1), ("float/train_accuracy", 0.75, 1),
        ("float/loss/layer0", 0.125, 300), ("float/loss/layer1", 0.0, 300),
        ("float/train_accuracy", 1.0, 300), ("float/test_accuracy", 0.5, 300),
    ]  # fmt: skip


def test_events_hold_the_scalars(tmp_path: Path) -> None:
    first, *rest = records(write_board(ROWS, tmp_path / "new" / "board").read_bytes())
    assert fields(first)[3] == b"brain.Event:2"
    found = []
    for event in map(fields, rest):
        value = fields(fields(event[5])[1])
        found.append((value[1].decode(), struct.unpack("<f", value[2])[0], event[2]))
    assert found == list(scalars(ROWS))


def test_train_writes_them(dfedge, tmp_path: Path) -> None:
    args = ("--data", "digits", "--epochs", 1, "--samples", 64, "--out", tmp_path / "run")
    assert dfedge("train", *args, "--tensorboard", tmp_path / "board").code == 0
    (file,) = (tmp_path / "board").iterdir()
    assert (
        file.name.startswith("events.out.tfevents.") and len(list(records(file.read_bytes()))) > 3
    )
