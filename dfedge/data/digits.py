"""scikit-learn's 1,797 handwritten digits of 8 x 8 pixels: real data inside a dependency.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998 (its test part).
"""

from pathlib import Path

import numpy as np

from dfedge.data.dataset import Dataset, Split
from dfedge.errors import DfedgeError

SIZES = {"train": 1000, "stream": 437, "test": 360}
SPLIT_SEED = 2408


def load(folder: Path | None = None) -> Dataset:
    """Three disjoint splits: ``train`` for the host, ``stream`` for the device, ``test``."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DfedgeError(
            "data set 'digits' lies inside scikit-learn, which is not installed; "
            "pip install scikit-learn, or pass --data FILE.npz"
        ) from error
    bunch = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    whole = Split(x, bunch.target.astype(np.int64))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(whole))
    splits, start = {}, 0
    for name, size in SIZES.items():
        splits[name] = whole.take(order[start : start + size])
        start += size
    return Dataset("digits", tuple("0123456789"), splits)
