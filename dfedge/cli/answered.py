"""How the terminal and JSON say an answer."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dfedge.device.answering import Answering
    from dfedge.device.answers import Prediction

CERTAIN = 0.999
"""No larger probability is told: held-out samples are too few to show it."""


def sureness(answer: "Prediction") -> str:
    """``97.3 %``, ``41.0 %, unsure``, or the lead where no confidence is known."""
    if answer.confidence is None:
        return f"lead {answer.margin:,}"
    return certainty(answer.confidence) + (", unsure" if answer.unsure else "")


def certainty(probability: float) -> str:
    """To a tenth, but never certain."""
    return f"{100 * probability:.1f} %" if probability < CERTAIN else f"> {100 * CERTAIN:.1f} %"


def answer_record(answer: "Prediction") -> dict[str, Any]:
    """The fields of one answer in JSON."""
    return {
        "class": answer.name, "label": answer.label, "score": answer.score,
        "margin": answer.margin, "confidence": answer.confidence, "unsure": answer.unsure,
    }  # fmt: skip


def runners_up(session: "Answering", scores: NDArray[np.int32], count: int) -> list[dict[str, Any]]:
    """The next nearest classes after the answer, at most ``count``, of scores int32 [K]."""
    from dfedge.device.answers import ranked
    from dfedge.device.confidence import probabilities
    from dfedge.state import DEAD_SCORE

    temperature = session.bundle.manifest.temperature
    shares = probabilities(scores, temperature) if temperature else None
    return [
        {
            "class": session.classes[k], "label": int(k), "score": int(scores[k]),
            "confidence": None if shares is None else float(shares[k]),
        }
        for k in ranked(scores)[1 : count + 1]
        if scores[k] > DEAD_SCORE
    ]  # fmt: skip
