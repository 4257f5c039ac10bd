"""Anchors only: weights stay, every anchor is the running mean of what its layer sees of its class.

A nearest-class-mean classifier in integers, layer by layer (`dfedge.device.anchors.mean`), sum and
count both halved whenever n reaches `HORIZON`, so that it follows a drift.  An anchor that
was there before counts as `PRIOR` samples.
"""

import numpy as np

from dfedge.continual.settings import StreamSettings
from dfedge.continual.strategies.strategy import Arrays, Inputs, Rows, Strategy
from dfedge.device.anchors import gather, mean
from dfedge.device.session import Session

HORIZON, PRIOR = 256, 16


class Anchors(Strategy):
    """See `dfedge.continual.strategies.Strategy`."""

    def __init__(self, session: Session, settings: StreamSettings) -> None:
        super().__init__(session, settings)
        plan = session.bundle.manifest.plan
        self.sums = [np.zeros((plan.classes, l.features), np.int32) for l in plan.layers]  # noqa: E741
        self.count = np.zeros(plan.classes, np.int32)

    def learn(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> None:
        """Move the anchors of the batch's classes."""
        session, state = self.session, self.session.runner.get_state()
        anchors = [state[f"layer{i}.anchors"] for i in range(len(self.sums))]
        for row in np.unique(rows[self.count[rows] == 0]):
            self.count[row] = PRIOR
            for total, held in zip(self.sums, anchors, strict=True):
                total[row] = held[row].astype(np.int32) * PRIOR
        for part, seen, _ in session.seen(q):
            np.add.at(self.count, rows[part], 1)
            gather(self.sums, rows[part], seen)
        moved = np.unique(rows)
        n = self.count[moved, None]
        for total, held in zip(self.sums, anchors, strict=True):
            if held.any():  # a frozen layer without anchors has no say
                held[moved] = mean(total[moved], n)
        full = self.count >= HORIZON
        self.count[full] >>= 1
        for total in self.sums:
            total[full] >>= 1
        session.runner.set_state(state)

    def arrays(self) -> Arrays:
        """Sums and counts."""
        return {"count": self.count} | {f"sums{i}": total for i, total in enumerate(self.sums)}

    def restore(self, arrays: Arrays) -> None:
        """Sums and counts."""
        self.count = arrays["count"].copy()
        self.sums = [arrays[f"sums{i}"].copy() for i in range(len(self.sums))]
