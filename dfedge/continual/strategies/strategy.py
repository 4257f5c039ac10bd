"""What every strategy offers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.continual.settings import StreamSettings
from dfedge.device.care import NO_CARE, Care
from dfedge.device.session import Session

Inputs = NDArray[np.int8]
Rows = NDArray[np.int64]
"""Rows of the anchors that labels stand for, [B]."""
Scores = NDArray[np.int32]
Arrays = dict[str, NDArray[Any]]


class Strategy:
    """One way to learn a batch and to remember what came before it; it remembers nothing.

    Attributes:
        care: that its session is opened with.
    """

    care: Care = NO_CARE

    def __init__(self, session: Session, settings: StreamSettings) -> None:
        self.session, self.settings = session, settings

    @property
    def settled(self) -> bool:
        """Whether the state may be saved as it is: no guard of its own has yet to judge it."""
        return True

    @property
    def rollbacks(self) -> int:
        """How often a guard of its own took something back."""
        return 0

    @property
    def guard_bytes(self) -> int:
        """That such a guard keeps between two steps."""
        return 0

    def judges(self, count: int) -> bool:
        """Whether a step of so many samples gives the scores that the whole program had before."""
        return False

    def begin(self, left: int) -> None:
        """An experience begins, or goes on, with so many new samples left."""

    def learn(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> Scores | None:
        """One step from new samples, int8 [B, H, W, C].

        Returns:
            Their scores from before it, [B, K], where it `judges`.
        """
        raise NotImplementedError

    def end(self) -> None:
        """An experience is over."""

    def remember(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> None:
        """Take samples into the memory without learning them."""

    def arrays(self) -> Arrays:
        """Its memory, by name: what a checkpoint keeps and what its bytes are."""
        return {}

    def restore(self, arrays: Arrays) -> None:
        """Take `arrays` back."""
