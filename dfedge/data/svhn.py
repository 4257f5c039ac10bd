"""SVHN's cropped digits from their official MATLAB files."""

from pathlib import Path

import numpy as np

from dfedge.data.dataset import Dataset, Split
from dfedge.data.locate import locate
from dfedge.data.mat import read_arrays
from dfedge.errors import DfedgeError

SITE = "The two files are at http://ufldl.stanford.edu/housenumbers/."


def svhn(data_dir: Path | None = None) -> Dataset:
    """SVHN: 73,257 and 26,032 colour digits of 32 x 32; label 10 stands for the digit 0."""
    names = {split: f"{split}_32x32.mat" for split in ("train", "test")}
    folder = locate(["svhn"], list(names.values()), data_dir, SITE)
    splits = {split: read_mat(folder / name) for split, name in names.items()}
    return Dataset("svhn", tuple("0123456789"), splits)


def read_mat(path: Path) -> Split:
    """One file: X uint8 [32, 32, 3, N] and y uint8 [N, 1], digits 1..10.

    Raises:
        DfedgeError: unreadable, or something else than that.
    """
    found = read_arrays(path, ("X", "y"))
    x, y = found["X"], found["y"].reshape(-1)
    labelled = y.size and ((y >= 1) & (y <= 10)).all()
    if x.dtype != np.uint8 or x.shape != (32, 32, 3, len(y)) or not labelled:
        raise DfedgeError(
            f"{path}: X is {x.dtype} {x.shape} with {len(y)} labels {y.tolist()[:3]}...; "
            "should be uint8 (32, 32, 3, N) with labels 1..10; fetch the file again"
        )
    return Split(np.ascontiguousarray(x.transpose(3, 0, 1, 2)), y.astype(np.int64) % 10)
