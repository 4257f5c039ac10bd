"""Learning that does no harm: what was known is replayed among what is new, and a guard judges.

**Replay.**  For every new sample one is learned of the bundle's own, or of a class that was added
here (`dfedge.device.known`), in an order that is a function of how much was replayed before.  A
replayed sample counts as a presentation; a batch does not grow.

**Guard.**  A net that is judged need not be as cautious as one that is not, so learning begins at
the rates that were measured (`dfedge.device.known.guarded_rates`), not at those that the trial at
export found to do no harm by themselves.  It goes by periods: of 512 presentations at first, then
of 1,024, then of 2,048, but of 32 steps at least, and the last period of a job takes what would be
left over.  Rates are halved where a half of the period is over, again at three quarters, and again
at seven eighths.  At its end the state is judged:

    known   of the samples that the bundle brings to be judged by, those that its own first state
            recognised and the state now does not, less those the other way round, are at most
            1 in 100; of those that it brings to replay, as well
    new     of samples of the new data that are not learned, at most 1 in 32 fewer are recognised
            than by the last good state; where all are learned, of every eighth of the period (at
            most 64)
    for     where no more of the new are recognised than by the last good state, no fewer of the
    what    samples to be judged by are either

Where all hold the state becomes the good one.  Else it goes back towards the good one, until all
hold: three quarters, a half, a quarter or an eighth of what the period changed is kept, or nothing;
after nothing, rates are halved until a whole period is kept.  So what is new is learned as far as
what was known can stay.

What is replayed is watched between two judgements, at no cost, as every step says what it made of
its samples before it learned them: where 1 in 4 fewer of the last 64 are recognised than of all by
the bundle's own first state, the rates are too high for this net, and the period is over.

The usual error, below which the pace rests (`dfedge.lower.pace`), follows what the net can: after
each judgement it is what the state misjudges of what was known, plus one standard error, but never
more than the bundle's.  So a net that was trained too little learns on as it gets better.

A period is long because a net that begins to learn something new loses some of what it knew, which
replay then brings back; a guard that judges early takes back what would have become good, and keeps
by never learning (examples/experiments/harm_guard.py).

With ``replace`` the old may go: nothing is replayed, only the new counts, and the pace does not
rest: the usual error is zero.

What is saved is always a state that was judged, so that a run that is killed goes on from it and
ends in the same bytes.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Labels
from dfedge.data.order import shuffled
from dfedge.device.known import Known, judging_samples, known_samples, replayed
from dfedge.device.lock import SharedLock, alone
from dfedge.device.rates import set_rates, slowed
from dfedge.device.store import Record
from dfedge.state import MOVED, SHIFTS, State

if TYPE_CHECKING:
    from dfedge.device.session import Session

Inputs = NDArray[np.int8]

SHORTEST, SHORTEST_STEPS = 512, 32
"""Of the first period: presentations, and steps, whichever is longer."""
DOUBLINGS = 2
"""How often a period that is kept whole makes the next one twice as long."""
HALVINGS = 3
"""How often rates are halved in a period."""
KNOWN_LOST, NEW_LOST = 100, 32
"""One in so many samples may be lost: of what was known, of what is new."""
WATCHED, WATCHED_LOST = 64, 4
"""Replayed samples that are watched together, and the part of them that may be lost meanwhile."""
HELD_BACK, MOST_HELD_BACK = 8, 64
"""One in so many new samples judges, up to so many."""
WAYS = ((3, 4), (2, 3), (1, 2), (1, 2))
"""Parts of what is left of a period's change that are kept, one after the other."""
MOST_CAUTION = 3


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


@dataclass(frozen=True)
class New:
    """Samples that the new is judged by.

    Attributes:
        good: how many the last good state recognises.
    """

    samples: Known
    good: int


class Keeper:
    """Care of one session.

    Attributes:
        good: the last state that was found good, with its record; its rates are those of the next
            period's beginning.
        left: presentations that are left of a job; 0: nobody knows.
        judgements, partly, wholly: how often it judged, and took back a part or all.
    """

    def __init__(self, session: "Session", care: Care) -> None:
        self.session, self.care = session, care
        self.replayed: Known = self._live(
            replayed(known_samples(session.bundle), session.remembered)
        )
        self.judging: Known = judging_samples(session.bundle)
        self.judgements = self.partly = self.wholly = 0
        self.left = self.length = self.presented = self.halvings = self.taught = 0
        self.watched = self.right = 0
        self.recent: list[tuple[Inputs, int]] = []
        self.known_first, self.replay_known = self._first_known()
        if care.guard and not session.record.guarded:
            set_rates(session)
        self.known_before = self.known_good = self.count(self.judging)
        self._follow()
        self.new: Known | None = None
        self.new_before = self.new_good = 0
        self.good = self.session.stored()

    @property
    def lock(self) -> SharedLock:
        """The session's."""
        return self.session.lock

    @alone
    def watch(self, new: Known | None, left: int = 0) -> None:
        """A job begins.

        Args:
            new: samples that are not learned, to judge the new by.
            left: presentations of the job.
        """
        self.new, self.left = new, left
        self.new_before = self.new_good = self.count(new) if new is not None else 0
        self.good = self.session.stored()

    def mixed(self, q: Inputs, y: Labels, presented: int = 0) -> tuple[Inputs, Labels]:
        """New samples, then those that are replayed with them.

        Args:
            presented: how many there shall be; 0: as many as are new.
        """
        if not self.care.replays or not len(self.replayed[1]):
            return q, y
        count = presented - len(y) if presented else len(y)
        at = shuffled(len(self.replayed[1]), 0, self.session.record.replayed, count)
        return np.concatenate([q, self.replayed[0][at]]), np.concatenate([y, self.replayed[1][at]])

    def before_step(self, presented: int) -> None:
        """Begin a period where none is under way."""
        if not self.presented:
            self.watched = self.right = 0
            shortest = max(SHORTEST, SHORTEST_STEPS * presented)
            self.length = shortest << self.session.record.doublings
            if self.left and self.left - self.length < self.length // 2:
                self.length = self.left

    def after_step(
        self, q: Inputs, rows: Labels, presented: int, scores: NDArray[np.int32], replayed: Labels
    ) -> None:
        """Judge where the period is over, or cannot go on; else set the rates of the next step.

        Args:
            q, rows: the step's new samples.
            presented: samples of the step, with those that were replayed.
            scores: int32 [R, K] of these from before the step.
            replayed: their rows, int64 [R].
        """
        if not self.care.guard:
            return
        self.presented += presented
        self.left = max(self.left - presented, 0)
        for x, row in zip(q, rows, strict=True) if self.new is None else ():
            self.taught += 1
            if self.taught % HELD_BACK == 0 and len(self.recent) < MOST_HELD_BACK:
                self.recent.append((x, int(row)))
        left = self.length - self.presented
        halvings = sum(left << k <= self.length for k in range(1, HALVINGS + 1))
        if self._fails(scores, replayed) or left <= 0:
            self.judge()
        else:
            self._slow(halvings)

    @alone
    def judge(self) -> None:
        """End the period: the state becomes the good one, or goes back towards it."""
        if not self.care.guard or not self.presented:
            return
        whole = self.presented >= self.length
        self.presented, self.judgements = 0, self.judgements + 1
        self._slow(0)
        new = self._new()
        if not self.passes(new):
            self._go_back(new)
        elif whole:
            record = self.session.record
            longer = min(record.doublings + 1, DOUBLINGS)
            self.session.record = msgspec.structs.replace(record, doublings=longer)
            self._be_careful(max(record.caution - 1, 0))
        self._follow()
        self.good = self.session.stored()

    @alone
    def judged(self) -> Judged:
        """What there is to tell."""
        known, new = len(self.judging[1]), len(self.new[1]) if self.new is not None else 0
        return Judged(
            self.new_before / new if new else None,
            self.count(self.new) / new if self.new is not None else None,
            self.known_before / known,
            self.count(self.judging) / known,
            self.judgements, self.partly, self.wholly,
        )  # fmt: skip

    def _live(self, known: Known) -> Known:
        """Those whose class was not retired."""
        live = self.session.runner.get_state()["live"][known[1]] != 0
        return known[0][live], known[1][live]

    def _first_known(self) -> tuple[int, int]:
        """How many are recognised of what was known, of what judges and of what is replayed.

        Counted from the bundle's own state; from the present one where a class was added, which may
        take its part of them; none where a class was retired, for it cannot be kept.
        """
        runner = self.session.runner
        now = runner.get_state()
        rows = np.concatenate([self.judging[1], self.replayed[1]])
        if not self.care.guard or self.care.replace or not now["live"][rows].all():
            return 0, 0
        if not self.session.record.added:
            runner.set_state(self.session.bundle.initial_state())
        judged = self.count(self.judging)
        replayed = self.count(self.replayed) if self.care.replays else 0
        runner.set_state(now)
        return judged, replayed

    def _new(self) -> New | None:
        """What the new is judged by."""
        if self.new is not None:
            return New(self.new, self.new_good)
        recent = self._recent()
        if recent is None:
            return None
        now = self.session.runner.get_state()
        self.session.runner.set_state(self.good.state)
        good = self.count(recent)
        self.session.runner.set_state(now)
        return New(recent, good)

    def passes(self, new: New | None) -> bool:
        """Whether the state may become the good one; then it is counted from here on."""
        found = self.count(new.samples) if new is not None else 0
        if new is not None and found < new.good - len(new.samples[1]) // NEW_LOST:
            return False
        least = self.known_first - may_be_lost(self.judging)
        if new is None or found <= new.good:
            least = max(least, min(self.known_first, self.known_good))
        known = self.count(self.judging)
        if known < least:
            return False
        least = self.replay_known - may_be_lost(self.replayed)
        if self.replay_known and self.count(self.replayed) < least:
            return False
        self.new_good, self.known_good = found, known
        return True

    def _go_back(self, new: New | None) -> None:
        """A part of the way to the good state, if that is enough, else all of it.

        What is lost of the old grows with the square of the way, what is won with the way itself:
        so a part of it often keeps most of what was won.
        """
        now: State = self.session.runner.get_state()
        for kept, of in WAYS:
            now = part_way(self.good.state, now, kept, of)
            self.session.runner.set_state(now)
            if self.passes(new):
                self.partly += 1
                return
        self.wholly += 1
        self.session.runner.set_state(self.good.state)
        self._be_careful(min(self.session.record.caution + 1, MOST_CAUTION))

    def _be_careful(self, caution: int) -> None:
        """Rates are halved as often as something was wholly taken back, less what went well."""
        record = self.session.record
        if caution != record.caution:
            now = self.session.runner.get_state()
            self.session.runner.set_state(slowed(now, caution - record.caution))
            self.session.record = msgspec.structs.replace(record, caution=caution)

    def _slow(self, halvings: int) -> None:
        """Halve the rates of the period's beginning so many times."""
        if halvings != self.halvings:
            now = self.session.runner.get_state()
            base = {name: self.good.state[name] for name in SHIFTS if name in now}
            self.session.runner.set_state(slowed({**now, **base}, halvings))
            self.halvings = halvings

    def _recent(self) -> Known | None:
        """Every eighth new sample of the period."""
        recent, self.recent, self.taught = self.recent, [], 0
        if not recent:
            return None
        return np.stack([x for x, _ in recent]), np.array([row for _, row in recent])

    def _fails(self, scores: NDArray[np.int32], rows: Labels) -> bool:
        """Whether a part of what was known is lost that replay is not to be hoped to bring back."""
        self.watched += len(rows)
        self.right += int((scores.argmax(1) == rows).sum()) if len(rows) else 0
        if self.watched < WATCHED:
            return False
        count, watched, right = len(self.replayed[1]), self.watched, self.right
        self.watched = self.right = 0
        return WATCHED_LOST * right * count < watched * (WATCHED_LOST * self.replay_known - count)

    def _follow(self) -> None:
        """Set the usual error to what the good state misjudges, a standard error more, at most the
        bundle's.
        """
        if not self.care.guard or self.care.replace:
            return
        most = int(self.session.rates["usual_error"])
        usual = np.array(min(usual_error(self.known_good, len(self.judging[1])), most))
        now = self.session.runner.get_state()
        if now["usual_error"] != usual:
            self.session.runner.set_state({**now, "usual_error": usual.astype(np.int32)})

    def count(self, samples: Known) -> int:
        """How many samples the state recognises."""
        q, rows = samples
        return int((self.session.scores_of_input(q).argmax(1) == rows).sum())


def may_be_lost(known: Known) -> int:
    """Of samples that were known."""
    return max(len(known[1]) // KNOWN_LOST, 1)


def usual_error(right: int, count: int) -> int:
    """``(wrong + sqrt(max(right wrong / count, 1/4))) / count`` in units of 2^-16, rounded down."""
    wrong = count - right
    spread = math.isqrt(max((right * wrong << 20) // count, 1 << 18))
    return ((wrong << 10) + spread << 6) // count


def part_way(good: State, now: State, kept: int, of: int) -> State:
    """The state between two: of what learning moved, ``kept / of`` of the way, halves upward."""
    found = dict(now)
    for name, value in now.items():
        if name.endswith(MOVED):
            move = value.astype(np.int64) - good[name]
            found[name] = (good[name] + (2 * kept * move + of) // (2 * of)).astype(value.dtype)
    return found


def fresh(size: int, record: Record) -> int:
    """New samples of the next ``size`` presentations; all others are replayed."""
    return (record.samples + size) // 2 - record.samples // 2


def began(record: Record) -> Record:
    """The record of a run that begins: periods are short, rates are whole."""
    return msgspec.structs.replace(record, caution=0, doublings=0)
