"""What the calls of a session give back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """The nearest class of one input.

    Attributes:
        label: number of the class.
        name: its name.
        score: integer nearness, larger is nearer; comparable between classes of one input.
        margin: lead over the runner-up; near 0 is a guess.
    """

    label: int
    name: str
    score: int
    margin: int


@dataclass(frozen=True)
class Lesson:
    """What one call of learning saw: scores [B, K] before it, and active samples per layer."""

    scores: NDArray[np.int32]
    active: NDArray[np.int64]


def nearest(scores: NDArray[np.int32], classes: tuple[str, ...]) -> Prediction:
    """Read one row of scores int32 [K]."""
    order = np.argsort(-scores.astype(np.int64), kind="stable")
    label = int(order[0])
    margin = int(scores[order[0]]) - int(scores[order[1]]) if len(order) > 1 else 0
    return Prediction(label, classes[label], int(scores[label]), margin)
