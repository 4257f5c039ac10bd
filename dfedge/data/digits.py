"""scikit-learn's 1,797 handwritten digits of 8 x 8 pixels: real data inside a dependency.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998 (its test part).
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from dfedge.data.dataset import Dataset, Split
from dfedge.errors import DfedgeError

SIZES = {"train": 1000, "stream": 437, "test": 360}
SPLIT_SEED = 2408


def load(folder: Path | None = None) -> Dataset:
    """Three disjoint splits: ``train`` for the host, ``stream`` for the device, ``test``."""
    package = find_spec("sklearn")  # found and not imported: that takes a second
    if package is None or package.origin is None:
        raise DfedgeError(
            "data set 'digits' lies inside scikit-learn, which is not installed; "
            "pip install scikit-learn, or pass --data FILE.npz"
        )
    rows = np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    pixels, digits = rows[:, :-1].reshape(-1, 8, 8, 1), rows[:, -1]
    whole = Split(np.round(pixels * (255 / 16)).astype(np.uint8), digits.astype(np.int64))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(whole))
    splits, start = {}, 0
    for name, size in SIZES.items():
        splits[name] = whole.take(order[start : start + size])
        start += size
    return Dataset("digits", tuple("0123456789"), splits)
