"""Replay of what the bundle brings, and its guard: as ``finetune`` learns (`dfedge.device.care`).

What is saved is always a state that was judged.  A run that is stopped between two judgements goes
on from the last one, and ends in the same bytes.
"""

import numpy as np

from dfedge import state
from dfedge.continual.settings import Settings
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

    def __init__(self, session: Session, settings: Settings) -> None:
        super().__init__(session, settings)
        if settings.guard:
            raise UsageError(
                "--guard is for the other strategies: guarded has a guard of its own; leave it "
                "out, or give --strategy none"
            )
        self.left = 0
        self._taken_back = 0
        self._keeper: Keeper | None = None

    def judges(self, count: int) -> bool:
        """A sample is always judged before it is learned."""
        return True

    def begin(self, left: int) -> None:
        """The guard is told how much is to come."""
        self.left, self._keeper = left, None

    def learn(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> Scores:
        """Half of the samples with as many replayed ones, then the other half."""
        halves = (slice(0, -(-len(q) // 2)), slice(-(-len(q) // 2), len(q)))
        return np.concatenate([self._step(q[half], rows[half]) for half in halves])

    def _step(self, q: Inputs, rows: Rows) -> Scores:
        if not len(q):
            return np.zeros((0, self.session.bundle.manifest.plan.classes), np.int32)
        keeper = self._watched()
        self.left = max(self.left - len(q), 0)
        scores = self.session.learn_with_care(q, rows).scores
        self._count(keeper)
        return scores

    def _watched(self) -> Keeper:
        """The session's keeper, told of what is left: it is another once a class was added."""
        keeper = self.session.keeper
        if keeper is not self._keeper:
            self._keeper, self._seen = keeper, keeper.partly + keeper.wholly
            keeper.watch(None, self.left * (2 if self.session.care.replays else 1))
        return keeper

    def _count(self, keeper: Keeper) -> None:
        """What the keeper took back since it was asked last."""
        now = keeper.partly + keeper.wholly
        self._taken_back, self._seen = self._taken_back + now - self._seen, now

    def end(self) -> None:
        """The state is judged."""
        keeper = self.session.keeper
        keeper.judge()
        if keeper is self._keeper:
            self._count(keeper)

    @property
    def settled(self) -> bool:
        """Whether no period is under way."""
        return not self.session.keeper.presented

    @property
    def rollbacks(self) -> int:
        """A part of what was learned, or all of it."""
        return self._taken_back

    @property
    def guard_bytes(self) -> int:
        """Of the good state."""
        return state.size_bytes(self.session.keeper.good.state)

    def arrays(self) -> Arrays:
        """Samples of classes that were added, and what was taken back."""
        q, rows = self.session.remembered
        return {"q": q, "rows": rows, "rollbacks": np.array(self._taken_back, np.int64)}

    def restore(self, arrays: Arrays) -> None:
        """As `arrays`."""
        self.session.settle()
        self.session.remembered = (arrays["q"].copy(), arrays["rows"].copy())
        self._taken_back, self._keeper = int(arrays["rollbacks"]), None
