"""Latent replay with as many samples of each class as there is room for, however rare it is.

Class-balanced reservoir sampling (Chrysakis and Moens, ICML 2020): a sample of a class that is not
among the largest takes the place of one of a largest class; one of a largest class is kept as by
a reservoir of its own class.
"""

import numpy as np

from dfedge.continual.strategies.replay import Replay


class Balanced(Replay):
    """See `dfedge.continual.strategies.replay`."""

    def slot(self, row: int, rng: np.random.Generator) -> int | None:
        """A place of a largest class, or of its own."""
        counts = np.bincount(self.rows[: self.held], minlength=len(self.seen))
        if counts[row] < counts.max():
            largest = int(rng.choice(np.flatnonzero(counts == counts.max())))
            return int(rng.choice(np.flatnonzero(self.rows[: self.held] == largest)))
        own = np.flatnonzero(self.rows[: self.held] == row)
        place = int(rng.integers(self.seen[row]))
        return int(own[place]) if place < len(own) else None
