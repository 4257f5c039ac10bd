"""Learning that does no harm: what was known is replayed among what is new, and a guard judges.

**Replay.**  A part of what is presented are samples of the bundle's own (`dfedge.device.known`), in
an order that is a function of how much was replayed before: one for every three new ones, and as
many as new ones or more once the guard had to take something back.  A replayed sample counts as a
presentation; a batch does not grow.

**Guard.**  After 4 steps, then after twice as many each time, up to 64, the state is judged:

    known   of the samples that the bundle brings to be judged by, those that its own first state
            recognised and the state now does not, less those the other way round, are at most
            2 in 100
    new     of samples of the new data that are not learned, at most 1 in 32 fewer are recognised
            than by the last good state; and of those that were recognised since then as they came
            (every eighth, at most 64) three in four still are

Where all hold the state becomes the good one.  Else it goes half of the way back to the good one,
or three quarters, or seven eighths, as far as is needed for all to hold, or all of the way; the
next judgement is after 4 steps again, and learning grows more cautious: more is replayed, and rates
are halved.  So what is new is learned as far as what was known can stay.

With ``replace`` the old may go: nothing is replayed, and only the new counts.

What is saved is always a state that was judged, so that a run that is killed goes on from it and
ends in the same bytes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Labels
from dfedge.data.order import shuffled
from dfedge.device.gate import Gate, alone
from dfedge.device.known import Known, judging_samples, known_samples
from dfedge.device.rates import slowed
from dfedge.device.store import FIRST, Record, Stored, moments
from dfedge.state import MOVED, State

if TYPE_CHECKING:
    from dfedge.device.session import Session

Inputs = NDArray[np.int8]

LAST = 64
"""Steps between two judgements at most; `FIRST` at first."""
KNOWN_LOST, NEW_LOST, STILL_LOST = 50, 32, 4
"""One in so many samples may be lost: of what was known, of what is new, of what was recognised."""
HELD_BACK, MOST_HELD_BACK = 8, 64
"""One in so many new samples judges, up to so many."""
HALVINGS = 3
MOST_CAUTION = 16
SHARES = ((3, 1), (1, 1), (1, 1), (1, 2), (1, 2), (1, 3))
"""New and replayed samples of a batch, by caution."""
SLOWER = 4
"""Steps of caution after which rates are halved."""


@dataclass(frozen=True)
class Care:
    """What keeps learning from doing harm.

    Attributes:
        replay: samples that the bundle brings are learned among the new ones.
        guard: what made it worse is taken back.
        replace: what was known may go: the device has moved on for good.
    """

    replay: bool = True
    guard: bool = True
    replace: bool = False

    @property
    def replays(self) -> bool:
        """Whether anything is replayed."""
        return self.replay and not self.replace


NO_CARE = Care(replay=False, guard=False)


@dataclass(frozen=True)
class Judged:
    """What the guard saw, fractions recognised; None where there was nothing to judge by.

    Attributes:
        new_before, new_after: of held-back samples of the new data.
        known_before, known_after: of the samples that the bundle brings.
        judgements, partly, wholly: how often it judged, and took back a part or all.
    """

    new_before: float | None
    new_after: float | None
    known_before: float
    known_after: float
    judgements: int
    partly: int
    wholly: int


class Keeper:
    """Care of one session.

    Attributes:
        good: the last state that was found good, with its record.
        judgements, partly, wholly: how often it judged, and took back a part or all.
    """

    def __init__(self, session: "Session", care: Care) -> None:
        self.session, self.care = session, care
        self.replayed: Known = known_samples(session.bundle)
        self.judging: Known = judging_samples(session.bundle)
        self.judgements = self.partly = self.wholly = 0
        self.steps = self.recognised = 0
        self.recent: list[tuple[Inputs, int]] = []
        self.least_known = self._least_known()
        self.known_before = self._count(self.judging)
        self.new: Known | None = None
        self.new_before = self.new_good = 0
        self.good = self._stored()

    @property
    def gate(self) -> Gate:
        """The session's."""
        return self.session.gate

    @alone
    def watch(self, new: Known | None) -> None:
        """From now on the new is judged by these samples, which are not learned."""
        self.new = new
        self.new_before = self.new_good = self._count(new) if new is not None else 0
        self.good = self._stored()

    def mixed(self, q: Inputs, y: Labels, presented: int = 0) -> tuple[Inputs, Labels]:
        """New samples, then those that are replayed with them.

        Args:
            presented: how many there shall be; 0: as many as are due after all that was learned.
        """
        if not self.care.replays:
            return q, y
        record, (new, old) = self.session.record, share(self.session.record)
        seen = record.samples - record.replayed
        due = (seen + len(y)) * old // new - seen * old // new
        count = presented - len(y) if presented else due
        at = shuffled(len(self.replayed[1]), 0, record.replayed, count)
        return np.concatenate([q, self.replayed[0][at]]), np.concatenate([y, self.replayed[1][at]])

    def after_step(self, q: Inputs, rows: Labels, scores: NDArray[np.int32]) -> None:
        """Judge where it is time.

        Args:
            q, rows, scores: of the step's new samples; scores from before they were learned.
        """
        self.steps += 1
        for i in np.flatnonzero(scores.argmax(1) == rows):
            self.recognised += 1
            if self.recognised % HELD_BACK == 0 and len(self.recent) < MOST_HELD_BACK:
                self.recent.append((q[i], int(rows[i])))
        if self.steps >= self.session.record.interval:
            self.judge()

    @alone
    def judge(self) -> None:
        """The state becomes the good one, or goes back towards it."""
        if not self.care.guard or not self.steps:
            return
        self.steps, self.judgements = 0, self.judgements + 1
        recent = self._recent()
        if self._passes(recent):
            interval = min(2 * self.session.record.interval, LAST)
            self.session.record = msgspec.structs.replace(self.session.record, interval=interval)
        else:
            self._go_back(recent)
        self.good = self._stored()

    @alone
    def judged(self) -> Judged:
        """What there is to tell."""
        known, new = len(self.judging[1]), len(self.new[1]) if self.new is not None else 0
        return Judged(
            self.new_before / new if new else None,
            self._count(self.new) / new if self.new is not None else None,
            self.known_before / known,
            self._count(self.judging) / known,
            self.judgements, self.partly, self.wholly,
        )  # fmt: skip

    def _least_known(self) -> int:
        """How many must be recognised of what was known, counted from the bundle's own state.

        From the present state where a class was added, which may take its part of them; none where
        a class was retired, for it cannot be kept.
        """
        runner = self.session.runner
        now = runner.get_state()
        if self.care.replace or not now["live"][self.judging[1]].all():
            return 0
        if not self.session.record.added:
            runner.set_state(self.session.bundle.initial_state())
        first = self._count(self.judging)
        runner.set_state(now)
        return first - len(self.judging[1]) // KNOWN_LOST

    def _passes(self, recent: Known | None) -> bool:
        """Whether the state may become the good one; then the new is counted from here on."""
        if self._count(self.judging) < self.least_known:
            return False
        if recent is not None:
            count = len(recent[1])
            if count - self._count(recent) > count // STILL_LOST:
                return False
        if self.new is not None:
            found = self._count(self.new)
            if found < self.new_good - len(self.new[1]) // NEW_LOST:
                return False
            self.new_good = found
        return True

    def _go_back(self, recent: Known | None) -> None:
        """A part of the way to the good state, if that is enough, else all of it.

        What is lost of the old grows with the square of the way, what is won with the way itself:
        so a part of it often keeps most of what was won.
        """
        record = self.session.record
        now: State = self.session.runner.get_state()
        caution = min(record.caution + 1, MOST_CAUTION)
        self.session.record = msgspec.structs.replace(record, caution=caution, interval=FIRST)
        slower = caution // SLOWER - record.caution // SLOWER
        for _ in range(HALVINGS):
            now = half_way(self.good.state, now)
            self.session.runner.set_state(slowed(now, slower))
            if self._passes(recent):
                self.partly += 1
                return
        self.wholly += 1
        self.session.runner.set_state(slowed(self.good.state, slower))

    def _recent(self) -> Known | None:
        """The samples since the last judgement that were recognised as they came."""
        recent, self.recent, self.recognised = self.recent, [], 0
        if len(recent) < STILL_LOST:
            return None
        return np.stack([x for x, _ in recent]), np.array([row for _, row in recent])

    def _count(self, samples: Known) -> int:
        """How many samples the state recognises."""
        q, rows = samples
        return int((self.session.scores_of_input(q).argmax(1) == rows).sum())

    def _stored(self) -> Stored:
        return Stored(self.session.runner.get_state(), self.session.record, next(moments))


def half_way(good: State, now: State) -> State:
    """The state between two: of all that learning moves the mean, halves upward."""
    found = dict(now)
    for name, value in now.items():
        if name.endswith(MOVED):
            total = good[name].astype(np.int32) + value
            found[name] = ((total + 1) >> 1).astype(value.dtype)
    return found


def fresh(size: int, record: Record) -> int:
    """New samples of the next ``size`` presentations; all others are replayed."""
    (new, old), seen = share(record), record.samples
    return (seen + size) * new // (new + old) - seen * new // (new + old)


def share(record: Record) -> tuple[int, int]:
    """New and replayed samples, in proportion."""
    return SHARES[min(record.caution, len(SHARES) - 1)]


def began(record: Record) -> Record:
    """The record of a run that begins: judged soon, and no more careful than is needed."""
    return msgspec.structs.replace(record, caution=0, interval=FIRST)
