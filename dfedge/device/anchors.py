"""Anchors set to class means: the quickest way to learn, without moving any weight."""

import numpy as np

from dfedge.data.dataset import Split
from dfedge.device.session import Session


def set_anchors(session: Session, split: Split) -> None:
    """Set every learning layer's anchors to the means of what it sees of the split's classes.

    ``A_k <- (2 sum p + n) // (2 n)`` over the n samples of class k; a class without any keeps its
    anchors.  Only sums of integers, so all runtimes end in the same bytes.
    """
    layers = session.bundle.manifest.plan.layers
    classes = session.bundle.manifest.plan.classes
    sums = [np.zeros((classes, layer.features), np.int64) for layer in layers]
    counts = np.zeros(classes, np.int64)
    for part, seen in session.features(split.x):
        labels = split.y[part]
        np.add.at(counts, labels, 1)
        for total, p in zip(sums, seen, strict=True):
            np.add.at(total, labels, p)
    state = session.runner.get_state()
    known = counts > 0
    n = counts[known, None]
    for i in range(session.bundle.manifest.plan.cut, len(layers)):
        anchors = state[f"layer{i}.anchors"]
        anchors[known] = ((2 * sums[i][known] + n) // (2 * n)).astype(np.int8)
    session.runner.set_state(state)
