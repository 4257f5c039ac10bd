"""What every strategy offers."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Inputs = NDArray[np.int8]
Rows = NDArray[np.int64]
"""Rows of the anchors that labels stand for, [B]."""
Scores = NDArray[np.int32]
Arrays = dict[str, NDArray[Any]]


class Strategy(Protocol):
    """One way to learn a batch and to remember what came before it."""

    judges: bool
    """Whether a step gives the scores that the whole program had for its samples before."""

    def learn(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> Scores | None:
        """One step from new samples, int8 [B, H, W, C].

        Returns:
            Their scores from before it, [B, K], where it `judges`.
        """

    def remember(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> None:
        """Take samples into the memory without learning them."""

    def arrays(self) -> Arrays:
        """Its memory, by name: what a checkpoint keeps and what its bytes are."""

    def restore(self, arrays: Arrays) -> None:
        """Take `arrays` back."""
