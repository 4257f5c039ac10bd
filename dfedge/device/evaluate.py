"""How well a session recognises a labelled split, without learning from it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dfedge.data.dataset import Split
from dfedge.device.session import Session

CHUNK = 128


@dataclass(frozen=True)
class Evaluation:
    """Accuracy over all samples, and of each class that occurs (by name)."""

    samples: int
    accuracy: float
    per_class: dict[str, float]


def evaluate(
    session: Session, split: Split, watch: Callable[[int, int], None] = lambda *_: None
) -> Evaluation:
    """Score every sample of the split."""
    right = np.zeros(len(split), bool)
    for start in range(0, len(split), CHUNK):
        part = slice(start, start + CHUNK)
        right[part] = session.scores(split.x[part]).argmax(1) == split.y[part]
        watch(min(start + CHUNK, len(split)), len(split))
    names = session.classes
    per_class = {
        names[label]: round(float(right[split.y == label].mean()), 4)
        for label in np.unique(split.y)
    }
    return Evaluation(len(split), float(right.mean()), per_class)
