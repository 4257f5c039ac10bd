"""Where the anchors of a new class stand, and those of the others beside it.

A mean of a few samples is a poor place: anchors that were learned against each other stand further
out than any mean, and a mean knows nothing of its neighbours.  So anchors move on from there, down
the gradient of cross-entropy, on the new samples and on those that the device holds of the other
classes.  The classifier is the net's own, a sum over the counted layers, and each layer's anchors
need of the others only that sum:

    q_k = 2^(score_k / T) / sum of these over the live classes      T: an eighth of the median lead
    g_k = w (1 if k is the sample's class, else 0, less q_k)        w: 1 / samples of its class
    A_k <- A_k + rate * sum of g_k (p - A_k) over all samples       in every counted layer

`ROUNDS` times, at a rate that falls from 1/2 to 1/16.  Every class weighs as much as another,
however many samples it has.

**Which anchors move.**  Those of all live classes, or the new row's alone (`new_class` decides).

**What is lost** is counted on samples that judge: neither the net was trained on them nor are
anchors placed among them.  Of those of the bundle's own classes, b are right before, among their
own classes; afterwards, among all, g of these are wrong and w others right.  It is

    m = lost * b - 100 (g - w) >= 0    and    m^2 >= 100^2 (g + w)

that is, at most ``lost`` in 100 of b with one standard error of g - w, as the guard has it
(`dfedge.device.care`): what few samples say is chance, and the luckiest of several trials is taken.
It is one budget for all classes that were added.  Where more is lost, the rounds begin again with
half the weight of the added classes, up to `HALVINGS` times.  If that is not enough, the others'
anchors stay, the new row alone moves with the least weight, and then straight away from the mean of
what is seen of the others, in steps of a `PARTS`-th of its distance; if nothing helps, it takes the
corner that is furthest from them, where next to nothing is recognised as the new class.

All of it is sums of integers, on features and scores of the exported program, so all runtimes end
in the same bytes.  Products are made in float64, which is faster in NumPy and exact: no sum reaches
2^53.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dfedge.device.anchors import mean
from dfedge.device.lock import alone
from dfedge.device.session import Session
from dfedge.state import State

ROUNDS, HALVINGS = 64, 6
RATES = 4
"""How often the rate is halved: after each quarter of the rounds; the first is 1/2."""
COLDER = 8
"""T is the median lead over this."""
COLDER_AMONG = 4
"""The same where anchors are placed among many samples, of the size of the leads: at first most may
be negative.  Chosen on training images of CIFAR-10 and CIFAR-100: 1, 2, 4 and 8 were tried."""
UNIT = 10
"""Bits of a probability."""
SIXTEENTHS = tuple(round(2 ** (15 - i / 16)) for i in range(16))
"""2^(-i/16) in 15 bits."""
FRACTION = 8
"""Bits of an anchor below its integer, while it moves."""
SHARE = 16
"""Bits of a sample's weight."""
LOST = 3
"""Samples that judge of which so many may be lost by default, in 100 that were recognised."""
PARTS, FURTHEST = 16, 32
LARGEST = np.iinfo(np.int8).max

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What the counted layers see of all samples.

    Attributes:
        p: of each such layer, integers in float64 [N, d].
        shift: of its part of the score.
        rows: of the samples, int64 [N].
    """

    p: dict[int, Floats]
    shift: dict[int, int]
    rows: Ints

    def scores(self, a: dict[int, Ints]) -> Ints:
        """Of anchors a [K, d] of every layer: int64 [N, K], less what all classes share."""
        return np.sum([((2 * p @ a[i].T).astype(np.int64) - (a[i] * a[i]).sum(1)) << self.shift[i]
                       for i, p in self.p.items()], 0)  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """Rows of classes.

    Attributes:
        new: the one that is placed.
        own: of the bundle's own classes, as far as they live.
        live, moving: of all classes that live; of those whose anchors move.
        first: of the rows that are not the bundle's own.
    """

    new: int
    own: Ints
    live: Ints
    moving: Ints
    first: int


@dataclass(frozen=True)
class Judge:
    """Samples of the bundle's own classes, and which are right among these [N]."""

    seen: Seen
    right: NDArray[np.bool_]

    def loses_too_many(self, a: dict[int, Ints], live: Ints, lost: int) -> bool:
        """Whether anchors of the live classes cost more than ``lost`` in 100."""
        now = live[self.seen.scores(a)[:, live].argmax(1)] == self.seen.rows
        gone, won = (int(np.count_nonzero(part)) for part in (self.right & ~now, now & ~self.right))
        left = lost * int(np.count_nonzero(self.right)) - 100 * (gone - won)
        return left < 0 or left * left < 100 * 100 * (gone + won)


def look(session: Session, q: NDArray[np.int8], rows: Ints) -> Seen:
    """What is seen of samples, whatever anchors stand there.

    Of layers that have a say: a layer whose anchors are all zero has none.

    Args:
        q: int8 [n, H, W, C], of rows [n].
    """
    state, layers = session.runner.get_state(), session.bundle.manifest.plan.layers
    parts = [seen for _, seen, _ in session.seen(q)]
    says = [i for i, one in enumerate(layers) if one.counted and state[f"layer{i}.anchors"].any()]
    none = {i: np.zeros((0, layers[i].features)) for i in says}  # in float64
    p = {i: np.concatenate([none[i], *(part[i] for part in parts)]) for i in says}
    return Seen(p, {i: layers[i].score_shift for i in says}, rows)


@alone
def place(
    session: Session, row: int, seen: Seen, judging: Seen, lost: int = LOST,
    first: State | None = None,
) -> None:  # fmt: skip
    """Move anchors on from where they stand; the new row's are means.

    Args:
        seen: what anchors are placed among: samples of the new row and of other live classes.
        judging: samples of live classes of the bundle's own.
        lost: of 100 that judge and were recognised, how many may be lost.
        first: the anchors of all live classes move, and what is lost is counted from this state.
            None: only the new row's, and it is counted from the state as it is.
    """
    session.settle()
    state = session.runner.get_state()
    live, own = np.flatnonzero(state["live"]), len(session.bundle.manifest.classes)
    single = Rows(row, live[live < own], live, np.array([row]), own)
    which = single if first is None else replace(single, moving=live)
    start = _anchors(state, seen)
    before = start if first is None else _anchors(first, seen)
    judge = Judge(judging, _leads(judging, before, which.own) > 0)
    lead = _leads(seen, start, which.own)[np.isin(seen.rows, which.own)]
    t = max(1, int(np.median(lead)) // COLDER) if len(lead) else 1
    trials = [(which, halvings) for halvings in range(HALVINGS)]
    if first is not None:
        trials.append((single, HALVINGS - 1))
    for rows, halvings in trials:
        a = _moved(seen, start, rows, t, halvings)
        if not judge.loses_too_many(a, live, lost):
            break
    else:
        a = _away(seen, a, which, lambda b: judge.loses_too_many(b, live, lost))
    for i, one in a.items():
        state[f"layer{i}.anchors"][:] = one
    session.runner.set_state(state)


def among(state: State, seen: Seen) -> State:
    """A state whose anchors are placed among samples, every class that has some weighing as much.

    Their anchors begin at the means of what is seen.  Those of other live classes stay.

    Args:
        seen: samples of live classes.
    """
    live, rows = np.flatnonzero(state["live"]), np.unique(seen.rows)
    start = _anchors(state, seen)
    for i, p in seen.p.items():
        for row in rows:
            own = p[seen.rows == row].astype(np.int64)
            start[i][row] = mean(own.sum(0), len(own))
    t = max(1, int(np.median(np.abs(_leads(seen, start, live)))) // COLDER_AMONG)
    a = _moved(seen, start, Rows(-1, live, live, rows, len(start)), t, 0)
    return {**state, **{f"layer{i}.anchors": one.astype(np.int8) for i, one in a.items()}}


def _anchors(state: State, seen: Seen) -> dict[int, Ints]:
    """Of the layers that have a say."""
    return {i: state[f"layer{i}.anchors"].astype(np.int64) for i in seen.p}


def _leads(seen: Seen, a: dict[int, Ints], own: Ints) -> Ints:
    """Of samples of own classes, among these: score over the best other; 0 of the others [N]."""
    lead, each = np.zeros(len(seen.rows), np.int64), np.flatnonzero(np.isin(seen.rows, own))
    if len(each) and len(own) > 1:
        scores = seen.scores(a)[each]
        others = scores[:, own]
        others[own == seen.rows[each][:, None]] = np.iinfo(np.int64).min
        lead[each] = scores[np.arange(len(each)), seen.rows[each]] - others.max(1)
    return lead


def _moved(
    seen: Seen, start: dict[int, Ints], which: Rows, t: int, halvings: int
) -> dict[int, Ints]:
    """Anchors after all rounds, of which the added classes' samples weigh ``2^-halvings``."""
    share = (1 << SHARE) // np.bincount(seen.rows)[seen.rows]
    share = np.where(seen.rows < which.first, share, share >> halvings)[:, None]
    own, at = seen.rows[:, None] == which.live, np.isin(which.live, which.moving)
    fine = {i: a[which.moving] << FRACTION for i, a in start.items()}
    scores = seen.scores({i: a[which.live] for i, a in start.items()})
    for number in range(ROUNDS):
        a = {i: _whole(one) for i, one in fine.items()}
        scores[:, at] = seen.scores(a)
        g = (((own << UNIT) - _probabilities(scores, t)) * share)[:, at]
        bits = 1 + number * RATES // ROUNDS + UNIT + SHARE - FRACTION
        for i, p in seen.p.items():
            move = (g.T.astype(np.float64) @ p).astype(np.int64) - g.sum(0)[:, None] * a[i]
            fine[i] = (fine[i] + (move >> bits)).clip(0, LARGEST << FRACTION)
    return _with(start, which.moving, {i: _whole(one) for i, one in fine.items()})


def _away(
    seen: Seen,
    start: dict[int, Ints],
    which: Rows,
    too_many_lost: Callable[[dict[int, Ints]], bool],
) -> dict[int, Ints]:
    """These anchors, of which the new row's go as far from the others' samples as they must."""
    others = seen.rows != which.new
    centre = {i: p[others].sum(0).astype(np.int64) // np.count_nonzero(others)
              for i, p in seen.p.items()}  # fmt: skip
    corner = {i: np.where(2 * one < LARGEST, LARGEST, 0) for i, one in centre.items()}
    for part in range(FURTHEST + 1):
        rows = {i: a[which.new] + (a[which.new] - centre[i]) * part // PARTS
                for i, a in start.items()}  # fmt: skip
        found = _with(start, which.new, {i: one.clip(0, LARGEST) for i, one in rows.items()})
        if not too_many_lost(found):
            return found
    return _with(start, which.new, corner)


def _with(start: dict[int, Ints], rows: Ints | int, anchors: dict[int, Ints]) -> dict[int, Ints]:
    """All anchors, of these rows others."""
    found = {i: a.copy() for i, a in start.items()}
    for i, one in anchors.items():
        found[i][rows] = one
    return found


def _probabilities(scores: Ints, t: int) -> Ints:
    """2^(score / T) over their sum, in `UNIT` bits, rounded down [N, K]."""
    z = (scores.max(1)[:, None] - scores) * 16 // t
    each = np.array(SIXTEENTHS)[z & 15] >> np.minimum(z >> 4, 16)
    return (each << UNIT) // each.sum(1)[:, None]


def _whole(fine: Ints) -> Ints:
    return (fine + (1 << FRACTION - 1)) >> FRACTION
