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

**What is lost.**  Of the known samples that the bundle's own classes recognise among themselves, no
more than ``lost`` in 100 may be taken for something else afterwards: one budget for all classes
that were added.  Where more are, the rounds begin again with half the weight of the added classes,
up to `HALVINGS` times.  If that is not enough, only the new row moves, straight away from the mean
of what is seen of the others, in steps of a `PARTS`-th of its distance.

All of it is sums of integers, on features and scores of the exported program, so all runtimes end
in the same bytes.  Products are made in float64, which is faster in NumPy and exact: no sum reaches
2^53.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfedge.device.lock import alone
from dfedge.device.session import Session

ROUNDS, HALVINGS = 64, 6
RATES = 4
"""How often the rate is halved: after each quarter of the rounds; the first is 1/2."""
COLDER = 8
"""T is the median lead over this."""
UNIT = 10
"""Bits of a probability."""
SIXTEENTHS = tuple(round(2 ** (15 - i / 16)) for i in range(16))
"""2^(-i/16) in 15 bits."""
FRACTION = 8
"""Bits of an anchor below its integer, while it moves."""
SHARE = 16
"""Bits of a sample's weight."""
LOST = 3
"""Known samples that may be lost by default, in 100 of those that were recognised."""
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


def look(
    session: Session, row: int, new: NDArray[np.int8], known: NDArray[np.int8], rows: Ints
) -> Seen:
    """What is seen of the samples that a row is placed among, whatever anchors stand there.

    Of layers that have a say: a layer whose anchors are all zero has none.

    Args:
        new: the row's samples, int8 [n, H, W, C].
        known: samples of other live classes, int8 [m, H, W, C], and their rows [m].
    """
    state, layers = session.runner.get_state(), session.bundle.manifest.plan.layers
    parts = [seen for _, seen, _ in session.seen(np.concatenate([new, known]))]
    says = [i for i, one in enumerate(layers) if one.counted and state[f"layer{i}.anchors"].any()]
    p = {i: np.concatenate([part[i] for part in parts]).astype(np.float64) for i in says}
    shift = {i: layers[i].score_shift for i in says}
    return Seen(p, shift, np.append(np.full(len(new), row), rows))


@alone
def place(session: Session, row: int, seen: Seen, lost: int = LOST, every: bool = False) -> None:
    """Move anchors on from where they stand; the new row's are means.

    Args:
        seen: by `look`.
        lost: of 100 known samples that were recognised, how many may be lost.
        every: the anchors of all live classes move.
    """
    session.settle()
    state = session.runner.get_state()
    live, first = np.flatnonzero(state["live"]), len(session.bundle.manifest.classes)
    moving = live if every else np.array([row])
    which = Rows(row, live[live < first], live, moving, first)
    start = {i: state[f"layer{i}.anchors"].astype(np.int64) for i in seen.p}
    t, right = _before(seen, seen.scores(start), which.own)

    def too_many_lost(a: dict[int, Ints]) -> bool:
        gone = live[seen.scores(a)[:, live].argmax(1)] != seen.rows
        return bool(np.count_nonzero(gone & right) * 100 > lost * np.count_nonzero(right))

    for halvings in range(HALVINGS):
        a = _moved(seen, start, which, t, halvings)
        if not too_many_lost(a):
            break
    else:
        a = _away(seen, start, which, too_many_lost)
    for i, one in a.items():
        state[f"layer{i}.anchors"][:] = one
    session.runner.set_state(state)


def _before(seen: Seen, scores: Ints, own: Ints) -> tuple[int, NDArray[np.bool_]]:
    """T, and which samples the bundle's own classes recognise among themselves [N]."""
    right, each = np.zeros(len(seen.rows), bool), np.flatnonzero(np.isin(seen.rows, own))
    if not len(each) or len(own) < 2:
        return 1, right
    others = scores[each][:, own]
    others[own == seen.rows[each][:, None]] = np.iinfo(np.int64).min
    lead = scores[each, seen.rows[each]] - others.max(1)
    right[each] = lead > 0
    return max(1, int(np.median(lead)) // COLDER), right


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
    """Anchors of which the new row's stand as far from the others' samples as they must."""
    others = seen.rows != which.new
    centre = {i: p[others].sum(0).astype(np.int64) // np.count_nonzero(others)
              for i, p in seen.p.items()}  # fmt: skip
    for part in range(FURTHEST + 1):
        rows = {i: a[which.new] + (a[which.new] - centre[i]) * part // PARTS
                for i, a in start.items()}  # fmt: skip
        found = _with(start, which.new, {i: one.clip(0, LARGEST) for i, one in rows.items()})
        if not too_many_lost(found):
            break
    return found


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
