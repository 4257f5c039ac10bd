"""Whether a state may become the good one: what it recognises of what was known and what is new.

The rule and its numbers: `dfedge.device.care`.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Labels
from dfedge.device import care as rule
from dfedge.device.care import Care
from dfedge.device.known import Known, judging_samples, known_samples, replayed
from dfedge.state import State

if TYPE_CHECKING:
    from dfedge.device.session import Session

Inputs = NDArray[np.int8]


@dataclass(frozen=True)
class New:
    """Samples that the new is judged by.

    Attributes:
        good: how many the last good state recognises.
    """

    samples: Known
    good: int


class Exam:
    """Of the states of one session.

    Attributes:
        known: samples that only judge; never learned.
        replayed: samples that are learned among the new ones, of classes that are not retired.
        known_first, replayed_first: how many of each the bundle's own state recognises; 0: they do
            not count.
        seen_first: which of ``known`` that state recognises, bool [N].
        known_good: how many of ``known`` the last good state recognises.
        held_back: samples of the new data that are not learned; None: some that were judge.
        held_back_good: how many of these the last good state recognises.
    """

    def __init__(self, session: "Session", care: Care) -> None:
        self.session, self.care = session, care
        self.known: Known = judging_samples(session.bundle)
        self.replayed: Known = self._live(
            replayed(known_samples(session.bundle), session.remembered)
        )
        self.seen_first, self.replayed_first = self._first()
        self.known_first = int(self.seen_first.sum())
        self.known_good = self.held_back_good = self._taught = 0
        self.held_back: Known | None = None
        self._recent: list[tuple[Inputs, int]] = []

    def begin(self, held_back: Known | None) -> int:
        """A job begins; how many of the samples that are held back for it are recognised."""
        self.held_back = held_back
        self.held_back_good = self.count(held_back) if held_back is not None else 0
        return self.held_back_good

    def count(self, samples: Known) -> int:
        """How many samples the state recognises."""
        return int(self.seen(samples).sum())

    def seen(self, samples: Known) -> NDArray[np.bool_]:
        """Which samples the state recognises, bool [N]."""
        q, rows = samples
        found: NDArray[np.bool_] = self.session.scores_of_input(q).argmax(1) == rows
        return found

    def taught(self, q: Inputs, rows: Labels) -> None:
        """New samples were learned: where none are held back, some of them judge."""
        for x, row in zip(q, rows, strict=True) if self.held_back is None else ():
            self._taught += 1
            if self._taught % rule.HELD_BACK == 0 and len(self._recent) < rule.MOST_HELD_BACK:
                self._recent.append((x, int(row)))

    def new(self, good: State) -> New | None:
        """What the new is judged by, against the last good state; a period is over."""
        if self.held_back is not None:
            return New(self.held_back, self.held_back_good)
        recent, self._recent, self._taught = self._recent, [], 0
        if not recent:
            return None
        samples = np.stack([x for x, _ in recent]), np.array([row for _, row in recent])
        runner = self.session.runner
        now = runner.get_state()
        runner.set_state(good)
        count = self.count(samples)
        runner.set_state(now)
        return New(samples, count)

    def passed(self, new: New | None) -> bool:
        """Whether the state may become the good one; then it is counted from here on."""
        found = self.count(new.samples) if new is not None else 0
        if new is not None and found < new.good - len(new.samples[1]) // rule.NEW_LOST:
            return False
        least = self.known_first - may_be_lost(self.known, rule.KNOWN_LOST)
        if new is None or found <= new.good:
            least = max(least, min(self.known_first, self.known_good))
        seen = self.seen(self.known)
        known = int(seen.sum())
        if known < least or (self.known_first and not surely_kept(self.seen_first, seen)):
            return False
        least = self.replayed_first - may_be_lost(self.replayed, rule.REPLAYED_LOST)
        if self.replayed_first and self.count(self.replayed) < least:
            return False
        self.known_good, self.held_back_good = known, found
        return True

    def usual_error(self) -> int:
        """That the pace rests at: what the good state misjudges, a standard error more."""
        return usual_error(self.known_good, len(self.known[1]))

    def _live(self, samples: Known) -> Known:
        """Those whose class was not retired."""
        live = self.session.runner.get_state()["live"][samples[1]] != 0
        return samples[0][live], samples[1][live]

    def _first(self) -> tuple[NDArray[np.bool_], int]:
        """Which are recognised of what judges, and how many of what is replayed.

        Counted from the bundle's own state; from the present one where a class was added, which may
        take its part of them; none where a class was retired, for it cannot be kept.
        """
        runner = self.session.runner
        now = runner.get_state()
        rows = np.concatenate([self.known[1], self.replayed[1]])
        if not self.care.guard or self.care.replace or not now["live"][rows].all():
            return np.zeros(len(self.known[1]), bool), 0
        if not self.session.record.added:
            runner.set_state(self.session.bundle.initial_state())
        known = self.seen(self.known)
        replayed = self.count(self.replayed) if self.care.replays else 0
        runner.set_state(now)
        return known, replayed


def may_be_lost(samples: Known, of: int) -> int:
    """One in so many."""
    return max(len(samples[1]) // of, 1)


def surely_kept(first: NDArray[np.bool_], now: NDArray[np.bool_]) -> bool:
    """``lost - won + sqrt(lost + won)`` is at most 3 in 100 of the samples."""
    lost, won = int((first & ~now).sum()), int((now & ~first).sum())
    left = rule.SURELY_LOST * len(first) - 100 * (lost - won)
    return left >= 0 and left**2 >= 100**2 * (lost + won)


def usual_error(right: int, count: int) -> int:
    """``(wrong + sqrt(max(right wrong / count, 1/4))) / count`` in units of 2^-16, rounded down."""
    wrong = count - right
    spread = math.isqrt(max((right * wrong << 20) // count, 1 << 18))
    return ((wrong << 10) + spread << 6) // count
