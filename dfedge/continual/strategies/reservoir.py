"""Latent replay whose memory is a uniform draw from all that was seen (Vitter's algorithm R)."""

import numpy as np

from dfedge.continual.strategies.replay import Replay


class Reservoir(Replay):
    """See `dfedge.continual.strategies.replay`."""

    def slot(self, row: int, rng: np.random.Generator) -> int | None:
        """The n-th sample stays with probability slots / n, in the place of any other."""
        place = int(rng.integers(self.seen.sum()))
        return place if place < self.held else None
