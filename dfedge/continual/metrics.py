"""The field's figures, from the accuracy matrix R of T experiences.

R[0, j] is the accuracy on experience j's test samples before anything was learned, R[i, j] after i
experiences (so R is [T + 1, T]).  Forgetting is Chaudhry's (arXiv 1801.10112), both transfers are
Lopez-Paz and Ranzato's (arXiv 1706.08840), with R[0] in the place of their random net.
"""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def average_accuracy(r: Matrix) -> float:
    """mean_j R[last, j]."""
    return float(r[-1].mean())


def forgetting(r: Matrix) -> float:
    """mean over j before the last of ``max_i R[i, j] - R[last, j]``, i from j's own experience on.

    Zero where fewer than two experiences were learned.
    """
    learned = len(r) - 1
    lost = [r[j + 1 :, j].max() - r[-1, j] for j in range(learned - 1)]
    return float(np.mean(lost)) if lost else 0.0


def backward_transfer(r: Matrix) -> float:
    """mean over j before the last of ``R[last, j] - R[j + 1, j]``: what later ones did to it."""
    learned = len(r) - 1
    gained = [r[-1, j] - r[j + 1, j] for j in range(learned - 1)]
    return float(np.mean(gained)) if gained else 0.0


def forward_transfer(r: Matrix) -> float:
    """mean over j after the first of ``R[j, j] - R[0, j]``: what earlier ones did for it."""
    learned = len(r) - 1
    gained = [r[j, j] - r[0, j] for j in range(1, learned)]
    return float(np.mean(gained)) if gained else 0.0
