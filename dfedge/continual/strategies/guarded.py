"""Replay of what the bundle brings, and its guard: as ``finetune`` learns (`dfedge.device.care`).

What is saved is always a state that was judged.  A run that is stopped between two judgements goes
on from the last one, and ends in the same bytes.
"""

import numpy as np

from dfedge import state
from dfedge.continual.settings import StreamSettings
from dfedge.continual.strategies.strategy import Arrays, Inputs, Rows, Scores, Strategy
from dfedge.device.care import Care
from dfedge.device.keeper import Keeper
from dfedge.device.session import Session
from dfedge.errors import UsageError


class Guarded(Strategy):
    """See `dfedge.continual.strategies.Strategy`.

    Attributes:
        left: new samples of the experience that are still to come.
    """

    care = Care()

    def __init__(self, session: Session, settings: StreamSettings) -> None:
        super().__init__(session, settings)
        if settings.guard:
            raise UsageError(
                "--guard is for the other strategies: guarded has a guard of its own; leave it "
                "out, or give --strategy none"
            )
        self.left = self._taken_back = self._seen = 0
        self._keeper: Keeper | None = None

    def judges(self, count: int) -> bool:
        """A sample is always judged before it is learned."""
        return True

    def begin(self, left: int) -> None:
        """The guard is told how much is to come."""
        self.left, self._taken_back, self._keeper = left, self.rollbacks, None

    def learn(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> Scores:
        """Half of the samples with as many replayed ones, then the other half."""
        halves = np.array_split(np.arange(len(q)), 2)
        return np.concatenate([self._step(q[half], rows[half]) for half in halves if len(half)])

    def _step(self, q: Inputs, rows: Rows) -> Scores:
        self._tell()
        self.left = max(self.left - len(q), 0)
        return self.session.learn_with_care(q, rows).scores

    def _tell(self) -> None:
        """Tell the session's keeper what is left: it is another once a class was added."""
        keeper = self.session.keeper
        if keeper is not self._keeper:
            self._taken_back = self.rollbacks
            self._keeper, self._seen = keeper, keeper.partly + keeper.wholly
            keeper.watch(None, self.left * (2 if self.session.care.replays else 1))

    def end(self) -> None:
        """The state is judged."""
        self.session.keeper.judge()

    @property
    def settled(self) -> bool:
        """Whether no period is under way."""
        return not self.session.keeper.presented

    @property
    def rollbacks(self) -> int:
        """A part of what was learned, or all of it."""
        keeper = self._keeper
        return self._taken_back + (keeper.partly + keeper.wholly - self._seen if keeper else 0)

    @property
    def guard_bytes(self) -> int:
        """Of the good state."""
        return state.size_bytes(self.session.keeper.good.state)

    def arrays(self) -> Arrays:
        """Samples of classes that were added, and what was taken back."""
        q, rows = self.session.remembered
        return {"q": q, "rows": rows, "rollbacks": np.array(self.rollbacks, np.int64)}

    def restore(self, arrays: Arrays) -> None:
        """As `arrays`."""
        self.session.settle()
        self.session.remembered = (arrays["q"].copy(), arrays["rows"].copy())
        self._taken_back, self._keeper = int(arrays["rollbacks"]), None
