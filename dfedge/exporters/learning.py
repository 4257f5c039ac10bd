"""The trial of learning: before a bundle is written, the very step that it holds has learned.

The program learns `PRESENTED` of the run's kept training samples, and as many of a mild change of
them (`InputRule.changed`), at several rates; samples that were held out judge it.  A rate passes
where the net's own kind of data loses no more than `OWN_LOST`, at no look more than `LOOK_LOST`,
and the changed data do not end more than `OWN_LOST` below where they began, or where what was lost
is a single sample.  Of those that pass the fastest is taken that is within one standard error of
the best on changed data.  Where none passes, the lowest layers are frozen one by one, then all
weights; where even anchors do harm, nothing learns and the export says so.

Before that one question is asked: does the net, at the measured rate and without a rest, get
better on its own kind of data?  One that was trained too little does, and no error is usual for it
(`dfedge.compile.pace`); one that was trained to the end would only move about.

Replay and guard, which a device has beside the rate, have no part in it.  Under a guard learning
begins at the measured rates (`dfedge.device.care`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from dfedge.compile.pace import ERROR_BITS
from dfedge.compile.state import State
from dfedge.data.inputs import InputRule, to_input
from dfedge.exporters.learner import Inputs, LatentSamples, Learner
from dfedge.int8.bounds import fan_in
from dfedge.int8.trunk import Constants
from dfedge.learn.kept import KeptSamples
from dfedge.learn.samples import behind
from dfedge.manifest import Learning, Look, Part
from dfedge.plan import MAX_UPDATE_SHIFT, Plan
from dfedge.progress import Progress
from dfedge.state import SHIFTS

PRESENTED = 512
LOOKS = (64, 256, 512)
"""Presentations after which the held-out samples are looked at."""
LEAST_BATCH, MOST_BATCH = 16, 64
"""Of the bundle's batch: smaller ones take too long, larger ones leave too few steps."""
GAINED = 2
"""Standard errors that a net trained too little gains at least."""
RATES = (0, 1, 2, 3, 5)
"""Added to all shifts: how many times the measured rate is halved."""
CAREFUL = (1, 3)
"""The same, where lower layers are frozen too."""
ANCHORS = (0, 2, 4)
"""The same, where anchors alone learn."""
OWN_LOST, LOOK_LOST = 0.01, 0.03
MOST_PRODUCTS = 1.2e12
"""Of all that a trial multiplies, about 20 s of one core; larger nets try fewer rates."""
MIN_HELD_OUT = 16
"""Samples below which nothing can be judged."""


@dataclass(frozen=True)
class Candidate:
    """One way to learn: halvings of the rate, the first layer that learns, whether weights do."""

    slower: int
    cut: int
    weights: bool = True

    def state(self, state: State) -> State:
        """The first state that learns in this way."""
        slowed = {name: state[name] + self.slower for name in SHIFTS if name in state}
        own = {name: shift.clamp(max=MAX_UPDATE_SHIFT) for name, shift in slowed.items()}
        if not self.weights:
            own["weight_shift"] = torch.full_like(own["weight_shift"], MAX_UPDATE_SHIFT)
        return state | own


@dataclass(frozen=True)
class CandidateResult:
    """What a candidate did: looks on own data and on changed data, from before the first step."""

    candidate: Candidate
    own: list[float]
    changed: list[float]
    held_out: int = 1 << 16

    @property
    def passes(self) -> bool:
        """Whether it did no harm; see the module."""
        one = 1.001 / self.held_out
        ended, looked = max(OWN_LOST, one), max(LOOK_LOST, one)
        own, changed = self.own, self.changed
        return (
            own[-1] >= own[0] - ended
            and min(own) >= own[0] - looked
            and changed[-1] >= changed[0] - ended
        )

    @property
    def error(self) -> float:
        """Standard error of its last look at changed data."""
        return standard_error(self.changed[-1], self.held_out)

    @property
    def gained(self) -> float:
        """On changed data, at the last two looks: one alone would be noise."""
        return sum(self.changed[-2:]) / 2 - self.changed[0]


@dataclass(frozen=True)
class LearningTask:
    """Samples to learn, samples to judge by, and the fraction of these recognised before."""

    samples: LatentSamples
    exam: LatentSamples
    before: float


class LearningTrial:
    """What is learned and what judges, as the first layer receives it.

    Attributes:
        batch: of a step.
        plan, first: the state with the usual error that the held-out samples show.
        begun: the error from which a trial goes on: a device's begins at zero, so that its pace
            begins slowly, and a trial is too short for that.
        undertrained: the usual error is none: the net was trained too little.
        own, changed: lessons.
        change: in words.
    """

    def __init__(
        self, plan: Plan, state: State, kept: KeptSamples, constants: Constants, batch: int,
        rule: InputRule,
    ) -> None:  # fmt: skip
        self.batch = min(max(batch, LEAST_BATCH), MOST_BATCH)
        like, untaught = kept.trained.x, Learner(plan, state)
        self.change = rule.changed(like[:1], like)[1]

        def lesson(*parts: NDArray[np.uint8]) -> LearningTask:
            learned, exam = (
                LatentSamples(seen(plan, constants, x), split.y)
                for x, split in zip(parts, (kept.trained, kept.held_out), strict=True)
            )
            return LearningTask(learned, exam, untaught.accuracy(exam))

        self.own = lesson(kept.trained.x, kept.held_out.x)
        self.changed = lesson(
            rule.changed(like, like, 0)[0], rule.changed(kept.held_out.x, like, 1)[0]
        )
        self.plan = plan
        wrong = _fraction(1 - self.own.before)
        self.first, self.begun = state | {"usual_error": wrong}, {"error": wrong}
        self.undertrained = self._undertrained()
        if self.undertrained:
            self.first = self.first | {"usual_error": _fraction(0)}

    def _undertrained(self) -> bool:
        """Whether the net gets better on its own data at every look, where its pace never rests."""
        restless = self.first | {"usual_error": _fraction(0)}
        own = self._looks(Candidate(0, self.plan.cut), self.own, restless)
        error = standard_error(own[-1], len(self.own.exam.y))
        return min(own) >= own[0] and own[-1] > own[0] + GAINED * error

    def found(self, candidate: Candidate) -> CandidateResult:
        """Learn both kinds of data at a candidate's rates."""
        own, changed = (
            self._looks(candidate, lesson, self.first) for lesson in (self.own, self.changed)
        )
        return CandidateResult(candidate, own, changed, len(self.own.exam.y))

    def _looks(self, candidate: Candidate, lesson: LearningTask, first: State) -> list[float]:
        learner = Learner(
            replace(self.plan, cut=candidate.cut), candidate.state(first | self.begun)
        )
        looks, left, samples = [lesson.before], list(LOOKS), lesson.samples
        for start in range(0, PRESENTED, self.batch):
            at = np.arange(start, start + self.batch) % len(samples.y)
            learner.learn(samples.x[at], samples.y[at])
            if left and start + self.batch >= left[0]:
                left.pop(0)
                looks.append(learner.accuracy(lesson.exam))
        return looks


def standard_error(fraction: float, count: int) -> float:
    """Of a fraction that was recognised, of so many samples."""
    return float(np.sqrt(fraction * (1 - fraction) / count))


def _fraction(value: float) -> torch.Tensor:
    """As the state holds errors."""
    return torch.tensor(round(value * (1 << ERROR_BITS)), dtype=torch.int32)


def seen(plan: Plan, constants: Constants, x: NDArray[np.uint8]) -> Inputs:
    """Samples, codes [N, H, W, C], as the first layer receives them."""
    return received(plan, constants, to_input(x))


def received(plan: Plan, constants: Constants, q: Inputs) -> Inputs:
    """What programs are fed, int8 [N, H, W, C], as the first layer receives it."""
    if plan.trunk is None:
        return q
    return behind(plan.trunk, constants, torch.from_numpy(q)).numpy()


def rounds(plan: Plan) -> Iterator[list[Candidate]]:
    """Candidates, to be tried until a round has one that passes."""
    yield [Candidate(slower, plan.cut) for slower in RATES[: affordable(plan)]]
    for cut in range(plan.cut + 1, len(plan.layers)):
        yield [Candidate(slower, cut) for slower in CAREFUL]
    if plan.form == "one-pass":
        yield [Candidate(slower, plan.cut, weights=False) for slower in ANCHORS]


def affordable(plan: Plan) -> int:
    """How many rates a net of this size tries."""
    products = sum(
        fan_in(conv) * conv.channels * conv.out_height * conv.out_width
        for layer in plan.layers
        for conv in layer.convs
    )
    looked_at = 2 * (3 * PRESENTED + (1 + len(LOOKS)) * 256)
    tried = MOST_PRODUCTS // max(products * looked_at, 1) - 1  # one goes to `_undertrained`
    return int(np.clip(tried, 1, len(RATES)))


def trial(
    plan: Plan,
    state: State,
    kept: KeptSamples,
    constants: Constants,
    batch: int,
    rule: InputRule,
    watch: Progress = lambda *_: None,
) -> tuple[Plan, State, Learning]:
    """Try, choose, and lay down what was found.

    Args:
        batch: of the bundle.
        rule: of the samples.

    Returns:
        The plan and the first state with what was chosen, and the record for the manifest.
    """
    lesson = LearningTrial(plan, state, kept, constants, batch, rule)
    plan, state = lesson.plan, lesson.first
    tried: list[CandidateResult] = []
    for group in rounds(plan):
        for candidate in group:
            watch("try learning", len(tried), len(tried) + len(group))
            tried.append(lesson.found(candidate))
        passed = [one for one in tried[-len(group) :] if one.passes]
        if passed:
            best = max(passed, key=lambda one: one.gained)
            chosen = next(one for one in passed if one.gained >= best.gained - best.error)
            watch("try learning", len(tried), len(tried))
            return (
                replace(plan, cut=chosen.candidate.cut),
                chosen.candidate.state(state),
                _record(plan, lesson, chosen, tried),
            )
    return plan, nothing(state), _record(plan, lesson, None, tried)


def nothing(state: State) -> State:
    """The state with every rate at zero."""
    return state | {
        name: torch.full_like(state[name], MAX_UPDATE_SHIFT) for name in SHIFTS if name in state
    }


def untried(plan: Plan, state: State, held_out: int) -> tuple[State, Learning]:
    """Where there is too little to try learning with: anchors alone learn."""
    if plan.form != "one-pass":
        return state, Learning(learns="all", frozen=plan.cut)
    state = state | {"weight_shift": torch.full_like(state["weight_shift"], MAX_UPDATE_SHIFT)}
    return state, Learning(learns="anchors", frozen=plan.cut, held_out=held_out)


def _record(
    plan: Plan, lesson: LearningTrial, chosen: CandidateResult | None, tried: list[CandidateResult]
) -> Learning:
    shown = chosen or tried[-1]
    curve = [Look(*row) for row in zip((0, *LOOKS), shown.own, shown.changed, strict=True)]
    return Learning(
        tried=True,
        learns=_learns(plan, chosen),
        frozen=chosen.candidate.cut if chosen else len(plan.layers),
        slower=chosen.candidate.slower if chosen else 0,
        undertrained=lesson.undertrained,
        change=lesson.change,
        held_out=len(lesson.own.exam.y),
        curve=curve,
    )


def _learns(plan: Plan, chosen: CandidateResult | None) -> Part:
    if chosen is None:
        return "nothing"
    if not chosen.candidate.weights:
        return "anchors"
    return "upper" if chosen.candidate.cut > plan.cut else "all"
