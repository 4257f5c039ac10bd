"""CIFAR-10 and CIFAR-100 from their official binary files.

A record is one label byte (CIFAR-100: coarse, then fine) and 3,072 bytes of pixels, the channels
one after the other, each 32 x 32 row by row.  (https://www.cs.toronto.edu/~kriz/cifar.html)
"""

from pathlib import Path

import numpy as np

from dfedge.data.dataset import Dataset, Split
from dfedge.data.locate import locate, read
from dfedge.errors import DfedgeError

PIXELS = 3 * 32 * 32
SITE = "Take the 'binary version' from https://www.cs.toronto.edu/~kriz/cifar.html."


def read_records(path: Path, label_bytes: int) -> Split:
    """One binary file; the last label byte before the pixels is the class.

    Raises:
        DfedgeError: no whole number of records.
    """
    raw = read(path)
    record = label_bytes + PIXELS
    if not raw or len(raw) % record:
        raise DfedgeError(
            f"{path}: truncated or damaged: {len(raw):,} bytes is not a multiple of a record's "
            f"{record:,}; fetch the file again"
        )
    table = np.frombuffer(raw, np.uint8).reshape(-1, record)
    x = table[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(x), table[:, label_bytes - 1].astype(np.int64))


def _names(path: Path, classes: int) -> tuple[str, ...]:
    names = tuple(read(path).decode("utf-8", "replace").split())
    if len(names) != classes:
        raise DfedgeError(f"{path}: {len(names)} class names, should be {classes}")
    return names


def cifar10(data_dir: Path | None = None) -> Dataset:
    """CIFAR-10: 50,000 and 10,000 colour images of 32 x 32 in ten classes."""
    batches = [f"data_batch_{i}.bin" for i in range(1, 6)]
    files = [*batches, "test_batch.bin", "batches.meta.txt"]
    folder = locate(["cifar10", "cifar-10-batches-bin"], files, data_dir, SITE)
    parts = [read_records(folder / name, 1) for name in batches]
    train = Split(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))
    test = read_records(folder / "test_batch.bin", 1)
    return Dataset(
        "cifar10", _names(folder / "batches.meta.txt", 10), {"train": train, "test": test}
    )


def cifar100(data_dir: Path | None = None) -> Dataset:
    """CIFAR-100: 50,000 and 10,000 colour images of 32 x 32 in a hundred classes."""
    files = ["train.bin", "test.bin", "fine_label_names.txt"]
    folder = locate(["cifar100", "cifar-100-binary"], files, data_dir, SITE)
    return Dataset(
        "cifar100",
        _names(folder / "fine_label_names.txt", 100),
        {name: read_records(folder / f"{name}.bin", 2) for name in ("train", "test")},
    )
