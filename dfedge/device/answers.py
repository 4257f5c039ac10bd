"""What the calls of a session give back."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dfedge.device.confidence import probabilities, unsure_below


@dataclass(frozen=True)
class Prediction:
    """The nearest class of one input.

    Attributes:
        label: number of the class.
        name: its name.
        score: integer nearness, larger is nearer; comparable between classes of one input.
        margin: lead over the runner-up; near 0 is a guess.
        confidence: the probability that the answer is right, as held-out samples showed it at
            export (`dfedge.device.confidence`); None where the bundle brings none.
        unsure: the runner-up is at least a third as probable; None likewise.
    """

    label: int
    name: str
    score: int
    margin: int
    confidence: float | None = None
    unsure: bool | None = None


@dataclass(frozen=True)
class StepResult:
    """What one call of learning saw: scores [B, K] before it, and active samples per layer."""

    scores: NDArray[np.int32]
    active: NDArray[np.int64]


def ranked(scores: NDArray[np.int32]) -> NDArray[np.int64]:
    """Rows of scores [K], the nearest first; of equal ones the first."""
    return np.argsort(-scores.astype(np.int64), kind="stable")


def nearest(
    scores: NDArray[np.int32], classes: tuple[str, ...], temperature: int = 0
) -> Prediction:
    """Read one row of scores int32 [K]; without a temperature no confidence is known."""
    order = ranked(scores)
    label = int(order[0])
    margin = int(scores[order[0]]) - int(scores[order[1]]) if len(order) > 1 else 0
    found = Prediction(label, classes[label], int(scores[label]), margin)
    if not temperature:
        return found
    confidence = float(probabilities(scores, temperature)[label])
    return replace(found, confidence=confidence, unsure=margin < unsure_below(temperature))
