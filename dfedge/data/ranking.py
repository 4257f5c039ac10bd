"""How well a number tells two kinds of samples apart."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def area_under_curve(low: NDArray[Any], high: NDArray[Any]) -> float:
    """Probability that one of ``high`` [M] exceeds one of ``low`` [N], equal ones counting a half.

    That is the area under the receiver operating characteristic (J. Hanley and B. McNeil, 1982).
    """
    order = np.sort(low)
    below = np.searchsorted(order, high, "left") + np.searchsorted(order, high, "right")
    return float(below.mean() / 2 / len(low))
