"""No memory: the exported step as it is.  What is not shown again may be forgotten."""

import numpy as np

from dfedge.continual.strategies.strategy import Inputs, Rows, Scores, Strategy


class Plain(Strategy):
    """See `dfedge.continual.strategies.Strategy`."""

    def judges(self, count: int) -> bool:
        """Where a program takes so many at once."""
        return count in self.session.bundle.manifest.batches("train")

    def learn(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> Scores | None:
        """One `train` step."""
        return self.session.learn_input(q, rows).scores
