"""Samples that lie in memory."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Divided, Labels, Split, drawn_apart
from dfedge.data.inputs import InputRule


def nothing(rule: InputRule) -> Split:
    """No samples."""
    return Split(np.empty((0, *rule.shape), np.uint8), np.empty(0, np.int64))


@dataclass(frozen=True)
class StoredSamples:
    """Samples [N, ...] of one shape, one of the `dfedge.data.catalogue.Part`."""

    x: NDArray[Any]
    y: Labels
    where: str

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: NDArray[np.int64]) -> Self:
        """See `dfedge.data.catalogue.Part`."""
        return replace(self, x=self.x[index], y=self.y[index])

    def divided(self, seed: int, where: str) -> Divided:
        """See `dfedge.data.catalogue.Part`."""
        return drawn_apart(len(self), seed, where)

    def read(self, rule: InputRule) -> Split:
        """See `dfedge.data.catalogue.Part`."""
        return Split(rule.apply(self.x, self.where), self.y) if len(self) else nothing(rule)

    def digest(self) -> str:
        """Of values and labels."""
        found = hashlib.sha256(np.ascontiguousarray(self.x).data)
        found.update(np.ascontiguousarray(self.y).data)
        return found.hexdigest()
