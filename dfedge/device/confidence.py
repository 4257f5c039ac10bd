"""How sure an answer is: a softmax of the scores at a temperature that was fitted at export.

    p_k = exp(s_k / T) / sum_j exp(s_j / T)        over the classes that are live

(Guo et al., "On Calibration of Modern Neural Networks", 2017).  T minimises the mean of
-log p of the right class over the samples that the bundle brings to judge by, which the net was
never trained on.  One answer more is counted as wrong, spread over all of them, so that a net that
recognises every sample is not taken to be certain.

An answer is unsure where its runner-up is at least a third as probable: s_1 - s_2 < T log 3.  That
is one comparison of integers, which a program in C makes as well.
"""

import math

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Labels
from dfedge.state import DEAD_SCORE

LEAST = 32
"""Samples below which no temperature is fitted."""
STEPS_PER_OCTAVE, OCTAVES = 16, 31
TIMES = 3
"""How many times as probable as the runner-up an answer is that is not unsure."""

Scores = NDArray[np.int32]


def probabilities(scores: Scores, temperature: float) -> NDArray[np.float64]:
    """Of each class, float64 [..., K], of scores int32 [..., K]."""
    return np.asarray(np.exp(_log_probabilities(scores, temperature)))


def unsure_below(temperature: int) -> int:
    """The lead over the runner-up below which an answer is unsure; 0 without a temperature."""
    return math.ceil(temperature * math.log(TIMES))


def fitted(scores: Scores, y: Labels) -> int:
    """The temperature, in units of scores; 0: too few samples, or a single class.

    Args:
        scores: int32 [N, K].
        y: their rows [N].
    """
    classes = int((scores > DEAD_SCORE).any(0).sum())
    if len(y) < LEAST or classes < 2:
        return 0
    grid = np.unique(np.round(2.0 ** (np.arange(STEPS_PER_OCTAVE * OCTAVES) / STEPS_PER_OCTAVE)))
    return int(min(grid, key=lambda temperature: _loss(scores, y, temperature, classes)))


def _loss(scores: Scores, y: Labels, temperature: float, classes: int) -> float:
    logs = _log_probabilities(scores, temperature)
    right = logs[np.arange(len(y)), y]
    wrong = (np.where(np.isfinite(logs), logs, 0).sum(1) - right) / (classes - 1)
    one = 1 / (len(y) + 1)
    return float(-((1 - one) * right + one * wrong).mean())


def _log_probabilities(scores: Scores, temperature: float) -> NDArray[np.float64]:
    scaled = np.where(scores > DEAD_SCORE, scores / temperature, -np.inf)
    scaled -= scaled.max(-1, keepdims=True)
    return np.asarray(scaled - np.log(np.exp(scaled).sum(-1, keepdims=True)))
