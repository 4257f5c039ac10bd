"""MNIST and Fashion-MNIST from their official IDX files.

IDX: two zero bytes, the element type (8: unsigned byte), the number of axes, one big-endian uint32
size per axis, then the elements.  (http://yann.lecun.com/exdb/mnist)
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Dataset, Split
from dfedge.data.locate import locate, read
from dfedge.errors import DfedgeError

PREFIXES = {"train": "train", "test": "t10k"}
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """One IDX file of unsigned bytes with the given number of axes.

    Raises:
        DfedgeError: another magic number, or not as long as its header says.
    """
    raw = read(path)
    magic = bytes([0, 0, 8, axes])
    if raw[:4] != magic:
        raise DfedgeError(
            f"{path}: not an IDX file of bytes with {axes} axes: "
            f"starts with {raw[:4].hex() or 'nothing'}, should be {magic.hex()}"
        )
    start = 4 + 4 * axes
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    expected = start + math.prod(shape)
    if len(raw) != expected or not math.prod(shape):
        raise DfedgeError(
            f"{path}: truncated or damaged: {len(raw):,} bytes, its header asks for "
            f"{expected:,}; fetch the file again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _load(name: str, classes: tuple[str, ...], data_dir: Path | None, how: str) -> Dataset:
    files = [f"{p}-{part}" for p in PREFIXES.values() for part in
             ("images-idx3-ubyte", "labels-idx1-ubyte")]  # fmt: skip
    folder = locate([name, name.replace("-", "_")], files, data_dir, how)
    splits = {}
    for split, prefix in PREFIXES.items():
        x = read_idx(folder / f"{prefix}-images-idx3-ubyte", 3)
        y = read_idx(folder / f"{prefix}-labels-idx1-ubyte", 1)
        if len(x) != len(y):
            raise DfedgeError(f"{folder}: {prefix} has {len(x)} images but {len(y)} labels")
        splits[split] = Split(x[..., None], y.astype(np.int64))
    return Dataset(name, classes, splits)


def mnist(data_dir: Path | None = None) -> Dataset:
    """MNIST: 60,000 and 10,000 grey digits of 28 x 28."""
    how = "The four files are at https://ossci-datasets.s3.amazonaws.com/mnist/."
    return _load("mnist", tuple("0123456789"), data_dir, how)


def fashion_mnist(data_dir: Path | None = None) -> Dataset:
    """Fashion-MNIST: 60,000 and 10,000 grey articles of 28 x 28."""
    how = "The four files are at https://github.com/zalandoresearch/fashion-mnist."
    return _load("fashion-mnist", FASHION, data_dir, how)
