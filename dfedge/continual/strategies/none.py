"""No memory: the exported step as it is.  What is not shown again may be forgotten."""

import numpy as np

from dfedge.continual.settings import Settings
from dfedge.continual.strategies.strategy import Arrays, Inputs, Rows, Scores
from dfedge.device.session import Session


class Plain:
    """See `dfedge.continual.strategies.Strategy`."""

    judges = True

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session = session

    def learn(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> Scores | None:
        """One `train` step."""
        return self.session.learn_input(q, rows).scores

    def remember(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> None:
        """Nothing: there is no memory of samples."""

    def arrays(self) -> Arrays:
        """Nothing."""
        return {}

    def restore(self, arrays: Arrays) -> None:
        """Nothing."""
