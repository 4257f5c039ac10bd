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
            1 in 100, and with one standard error of that difference, the root of all that changed
            either way, at most 3 in 100; of those that it brings to replay at most 1 in 25, as they
            are known by heart
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

The usual error, below which the pace rests (`dfedge.compile.pace`), follows what the net can: after
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

from dataclasses import dataclass

SHORTEST, SHORTEST_STEPS = 512, 32
"""Of the first period: presentations, and steps, whichever is longer."""
DOUBLINGS = 2
"""How often a period that is kept whole makes the next one twice as long."""
HALVINGS = 3
"""How often rates are halved in a period."""
KNOWN_LOST, REPLAYED_LOST, NEW_LOST = 100, 25, 32
"""One in so many samples may be lost: of those that only judge, of what is replayed, of what is
new.  What was trained on loses more, for it is known by heart: at 1 in 100 of it a net that read 98
of 100 digits learned nothing of turned ones; with none of it counted wrong labels cost up to 15
points of what small data sets knew."""
SURELY_LOST = 3
"""In 100 of the samples that only judge: what may be lost of them with one standard error.  Few
samples, of which many changed, show little: without this bad data cost more than 3 points of what
was known in 75 of 324 runs, with it in 42 (examples/experiments/harm_streams.py)."""
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
class GuardReport:
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
