"""Anchors set to class means: the quickest way to learn, without moving any weight."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Labels, Split
from dfedge.device.lock import alone
from dfedge.device.session import Session


def gather(sums: list[NDArray[Any]], rows: Labels, seen: list[NDArray[np.int8]]) -> None:
    """Add what each layer's anchors see, int8 [B, d], to the sums [K, d] of the samples' rows."""
    for total, p in zip(sums, seen, strict=True):
        np.add.at(total, rows, p)


def mean(total: NDArray[Any], n: NDArray[Any] | int) -> NDArray[np.int8]:
    """``(2 sum p + n) // (2 n)``: int8 like the sums, of n samples each."""
    found: NDArray[np.int8] = ((2 * total + n) // (2 * n)).astype(np.int8)
    return found


@alone
def set_anchors(session: Session, split: Split) -> None:
    """Set every learning layer's anchors to the means of what it sees of the split's classes.

    A class without any sample keeps its anchors.  Only sums of integers, so all runtimes end in
    the same bytes.
    """
    layers = session.bundle.manifest.plan.layers
    classes = session.bundle.manifest.plan.classes
    sums = [np.zeros((classes, layer.features), np.int64) for layer in layers]
    counts = np.bincount(split.y, minlength=classes)
    for part, seen in session.features(split.x):
        gather(sums, split.y[part], seen)
    state = session.runner.get_state()
    known = counts > 0
    n = counts[known, None]
    for i in range(session.bundle.manifest.plan.cut, len(layers)):
        anchors = state[f"layer{i}.anchors"]
        anchors[known] = mean(sums[i][known], n)
    session.runner.set_state(state)
