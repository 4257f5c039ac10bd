"""Replay and guard at work in one session: periods, rates within them, the way back.

The rule and its numbers: `dfedge.device.care`.
"""

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Labels
from dfedge.data.order import shuffled
from dfedge.device import care as rule
from dfedge.device.care import Care, GuardReport
from dfedge.device.exam import Exam, Inputs, New
from dfedge.device.known import Known
from dfedge.device.lock import SharedLock, alone
from dfedge.device.rates import set_rates, slowed
from dfedge.state import MOVED, SHIFTS, State

if TYPE_CHECKING:
    from dfedge.device.session import Session


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
        self.exam = Exam(session, care)
        self.judgements = self.partly = self.wholly = 0
        self.left = self.length = self.presented = self.halvings = 0
        self.watched = self.right = 0
        if care.guard and not session.record.guarded:
            set_rates(session)
        known = self.exam.count(self.exam.known) if care.guard else 0  # nobody else judges
        self.known_before = self.exam.known_good = known
        self.new_before = 0
        self._follow()
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
        self.left, self.new_before = left, self.exam.begin(new)
        self.good = self.session.stored()

    def mixed(self, q: Inputs, y: Labels, presented: int = 0) -> tuple[Inputs, Labels]:
        """New samples, then those that are replayed with them.

        Args:
            presented: how many there shall be; 0: as many as are new.
        """
        old, rows = self.exam.replayed
        if not self.care.replays or not len(rows):
            return q, y
        count = presented - len(y) if presented else len(y)
        at = shuffled(len(rows), 0, self.session.record.replayed, count)
        return np.concatenate([q, old[at]]), np.concatenate([y, rows[at]])

    def before_step(self, presented: int) -> None:
        """Begin a period where none is under way."""
        if not self.presented:
            self.watched = self.right = 0
            shortest = max(rule.SHORTEST, rule.SHORTEST_STEPS * presented)
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
        self.exam.taught(q, rows)
        left = self.length - self.presented
        halvings = sum(left << k <= self.length for k in range(1, rule.HALVINGS + 1))
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
        new = self.exam.new(self.good.state)
        if not self.exam.passed(new):
            self._go_back(new)
        elif whole:
            record = self.session.record
            longer = min(record.doublings + 1, rule.DOUBLINGS)
            self.session.record = msgspec.structs.replace(record, doublings=longer)
            self._be_careful(max(record.caution - 1, 0))
        self._follow()
        self.good = self.session.stored()

    @alone
    def judged(self) -> GuardReport:
        """What there is to tell."""
        exam, known = self.exam, len(self.exam.known[1])
        new = len(exam.held_back[1]) if exam.held_back is not None else 0
        return GuardReport(
            self.new_before / new if new else None,
            exam.count(exam.held_back) / new if exam.held_back is not None else None,
            self.known_before / known,
            exam.count(exam.known) / known,
            self.judgements,
            self.partly,
            self.wholly,
        )

    def _go_back(self, new: New | None) -> None:
        """A part of the way to the good state, if that is enough, else all of it.

        What is lost of the old grows with the square of the way, what is won with the way itself:
        so a part of it often keeps most of what was won.
        """
        now: State = self.session.runner.get_state()
        for kept, of in rule.WAYS:
            now = part_way(self.good.state, now, kept, of)
            self.session.runner.set_state(now)
            if self.exam.passed(new):
                self.partly += 1
                return
        self.wholly += 1
        self.session.runner.set_state(self.good.state)
        self._be_careful(min(self.session.record.caution + 1, rule.MOST_CAUTION))

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

    def _fails(self, scores: NDArray[np.int32], rows: Labels) -> bool:
        """Whether a part of what was known is lost that replay is not to be hoped to bring back."""
        self.watched += len(rows)
        self.right += int((scores.argmax(1) == rows).sum()) if len(rows) else 0
        if self.watched < rule.WATCHED:
            return False
        count, watched, right = len(self.exam.replayed[1]), self.watched, self.right
        self.watched = self.right = 0
        least = rule.WATCHED_LOST * self.exam.replayed_first - count
        return rule.WATCHED_LOST * right * count < watched * least

    def _follow(self) -> None:
        """Set the usual error to the exam's, at most to the bundle's."""
        if not self.care.guard or self.care.replace:
            return
        most = int(self.session.rates["usual_error"])
        usual = np.array(min(self.exam.usual_error(), most), np.int32)
        now = self.session.runner.get_state()
        if now["usual_error"] != usual:
            self.session.runner.set_state({**now, "usual_error": usual})


def part_way(good: State, now: State, kept: int, of: int) -> State:
    """The state between two: of what learning moved, ``kept / of`` of the way, halves upward."""
    found = dict(now)
    for name, value in now.items():
        if name.endswith(MOVED):
            move = value.astype(np.int64) - good[name]
            found[name] = (good[name] + (2 * kept * move + of) // (2 * of)).astype(value.dtype)
    return found
