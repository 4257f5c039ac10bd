"""Few samples of each class at first, then more: ``5+20``."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Labels
from dfedge.errors import UsageError

Index = NDArray[np.int64]


def ends(text: str, last: int) -> list[int]:
    """How many of each class are learned by the end of each experience.

    Raises:
        UsageError: no rising numbers from 1 to ``last``, joined by ``+``.
    """
    try:
        found = msgspec.convert(text.split("+"), list[int], strict=False)
    except msgspec.ValidationError:
        found = []
    if not found or sorted(set(found)) != found or found[0] < 1 or found[-1] > last:
        raise UsageError(
            f"new-user: utterances={text}; allowed: rising numbers joined by '+', from 1 to "
            f"{last}, as 5+20"
        )
    return found


def ranked(order: Index, y: Labels) -> Index:
    """The place of each sample among those of its class, by ``order`` [N]: int64 [N]."""
    rank = np.zeros(len(order), np.int64)
    for k in np.unique(y):
        own = np.flatnonzero(y == k)
        rank[own[np.argsort(order[own], kind="stable")]] = np.arange(len(own))
    return rank
