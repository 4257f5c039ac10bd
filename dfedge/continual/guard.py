"""A guard: samples held back to judge learning by, and the last good state to fall back to.

The device keeps N samples that it recognised when they came, at first of those that the bundle
brings to judge by, then every eighth recognised one of the stream in the place of the oldest.  So
the set follows a drift that the device can follow, while samples with wrong labels, which it does
not recognise, hardly enter it.  Every 8 steps the set is judged.  With

    lost = (samples that the good state recognised) - (those recognised now)

and the stream's samples since the last judgement, each compared with its label before it was
learned:

    at least half agreed   lost <= N / 4: the state now becomes the good one
    fewer did              lost <= N / 32: on probation, neither good nor taken back
    else                   the good state comes back, with the strategy's memory as it was then

So labels that the device mostly agrees with are trusted, and a drift may cost what is long past; of
others nothing is learned that costs what was known, and nothing is kept unless the device comes to
agree: a guard cannot tell a sudden change from wrong labels.  A run does not end on probation.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.continual.strategies.strategy import Arrays, Strategy
from dfedge.device.known import judging_samples
from dfedge.device.session import Session
from dfedge.state import under

CHECK_EVERY = 8
"""Steps between two judgements."""
HELD_BACK = 8
"""One in so many recognised samples goes to the guard."""
TRUSTED, TOLERANCE = 4, 32
"""One in so many samples of the set may be lost where labels are trusted, and on probation."""
COUNTS = ("oldest", "recognised", "rollbacks", "agreed", "compared")


class Guard:
    """The set, int8 [n, H, W, C] with rows int64 [n], and the good state.

    Attributes:
        kept: whether the good state recognises each sample, bool [n].
        rollbacks: how often the good state came back.
    """

    def __init__(self, session: Session, strategy: Strategy, size: int, fresh: bool) -> None:
        self.session, self.strategy, self.size = session, strategy, size
        shape = session.bundle.manifest.plan.input_shape
        self.q, self.rows = np.zeros((0, *shape), np.int8), np.zeros(0, np.int64)
        if not fresh:
            q, rows = judging_samples(session.bundle)
            right = np.flatnonzero(session.scores_of_input(q).argmax(1) == rows)[:size]
            self.q, self.rows = q[right], rows[right]
        self.kept = np.ones(len(self.rows), bool)
        self.oldest = self.recognised = self.rollbacks = self.agreed = self.compared = 0
        self.mark()

    def mark(self) -> None:
        """The state as it is now is the good one."""
        self.good = {f"state.{name}": v for name, v in self.session.runner.get_state().items()}
        self.good |= {f"memory.{n}": v.copy() for n, v in self.strategy.arrays().items()}

    def hold_back(
        self, q: NDArray[np.int8], rows: NDArray[np.int64], right: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Take some of the recognised samples of a batch; which were taken, bool [B]."""
        self.agreed += int(right.sum())
        self.compared += len(right)
        taken = np.zeros(len(rows), bool)
        for i in np.flatnonzero(right):
            self.recognised += 1
            if self.recognised % HELD_BACK == 0:
                self._take(q[i], int(rows[i]))
                taken[i] = True
        return taken

    def _take(self, one: NDArray[np.int8], row: int) -> None:
        if len(self.rows) < self.size:
            self.q = np.concatenate([self.q, one[None]])
            self.rows, self.kept = np.append(self.rows, row), np.append(self.kept, True)
            return
        at = self.oldest
        self.q[at], self.rows[at], self.kept[at] = one, row, True
        self.oldest = (at + 1) % self.size

    def judge(self, last: bool = False) -> bool:
        """Accept the state, leave it on probation, or take the good one back; whether it was.

        Args:
            last: nothing follows: a state on probation is taken back too.
        """
        if not len(self.rows):
            return False
        now = self.session.scores_of_input(self.q).argmax(1) == self.rows
        lost = int(self.kept.sum()) - int(now.sum())
        trusted = 0 < self.compared <= 2 * self.agreed
        self.agreed = self.compared = 0
        if trusted and lost <= self.size // TRUSTED:
            self.kept = now
            self.mark()
            return False
        if not (trusted or last) and lost <= self.size // TOLERANCE:
            return False
        self.restore_good()
        self.rollbacks += 1
        return True

    def restore_good(self) -> None:
        """The good state, and the strategy's memory with it."""
        self.session.runner.set_state(under(self.good, "state"))
        self.strategy.restore(under(self.good, "memory"))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint keeps, and what the guard's bytes are."""
        counts = np.array([getattr(self, name) for name in COUNTS], np.int64)
        own: Arrays = {"q": self.q, "rows": self.rows, "kept": self.kept, "counts": counts}
        return own | {f"good.{name}": value for name, value in self.good.items()}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take `arrays` back."""
        self.q, self.rows, self.kept = (arrays[name].copy() for name in ("q", "rows", "kept"))
        for name, value in zip(COUNTS, arrays["counts"], strict=True):
            setattr(self, name, int(value))
        self.good = under(arrays, "good")
