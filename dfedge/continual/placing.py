"""Where a new class's anchors stand: pulled to its own samples, pushed off those of the others.

Anchors that were learned against each other stand further out than any mean of samples, so a new
class whose anchors are means wins much that is not its own.  The new row, and it alone, is
therefore moved on.  A sample is judged as the net judges, on the sum over layers:

    v = score_new - best score of another class               of another class's sample the negative
    c = clamp((R - v) 64 // (2 R), 0, 64)                     R: twice the median lead on the known
    A <- A + mean_new c/64 (p - A) - mean_known c/64 (p - A)  `ROUNDS` times, in every counted layer

Unlike the step's own rule (`dfedge.int8`) this one has no separation beyond which a wrong anchor is
let be: a mean may lie far off every other anchor and still be in the way.

Where more of the known samples fall to the row than was allowed, R is halved and the rounds begin
again, up to `HALVINGS` times: samples that lead by enough no longer pull, and the others decide.

Where classes cannot be told apart so well that both sides keep nearly all, the known come first:
the row then moves on, straight away from the mean of what is seen of them, in steps of a
`PARTS`-th of its distance, until no more of the known samples fall to it than was allowed.

All of it is sums of integers, on features and scores of the exported program, so all runtimes end
in the same bytes.
"""

import numpy as np
from numpy.typing import NDArray

from dfedge.device.lock import alone
from dfedge.device.session import Session

ROUNDS, HALVINGS = 64, 6
REACH = 2
"""R, in median leads."""
UNIT = 64
"""Of c."""
FRACTION = 8
"""Bits of an anchor below its integer, while it moves."""
SHARE = 16
"""Bits of one sample's share in a mean."""
LOST = 3
"""Known samples that may fall to the new class by default, in 100 of those that were recognised."""
PARTS, FURTHEST = 16, 32
LARGEST = np.iinfo(np.int8).max

Ints = NDArray[np.int64]


@alone
def place(
    session: Session,
    row: int,
    new: NDArray[np.int8],
    known: NDArray[np.int8],
    rows: Ints,
    lost: int = LOST,
) -> None:
    """Move the anchors of a live row on from where they stand.

    Args:
        new: the row's samples, int8 [n, H, W, C].
        known: samples of other classes, int8 [m, H, W, C], and their rows [m].
        lost: of 100 known samples that were recognised, how many may fall to the row.
    """
    session.settle()
    q, state = np.concatenate([new, known]), session.runner.get_state()
    own = np.arange(len(q)) < len(new)
    share = (1 << SHARE) // np.where(own, len(new), len(known))
    best, reach, right = _others(session.scores_of_input(q), row, own, rows)
    layers = {
        i: layer
        for i, layer in enumerate(session.bundle.manifest.plan.layers)
        if layer.counted and state[f"layer{i}.anchors"].any()  # else it has no say
    }
    parts = [seen for _, seen, _ in session.seen(q)]
    p = {i: np.concatenate([part[i] for part in parts]).astype(np.int64) for i in layers}
    fine = {i: state[f"layer{i}.anchors"][row].astype(np.int64) << FRACTION for i in layers}

    def scores(a: dict[int, Ints]) -> Ints:
        return np.sum([(2 * p[i] @ a[i] - a[i] @ a[i]) << layer.score_shift
                       for i, layer in layers.items()], 0)  # fmt: skip

    def too_many_fall(a: dict[int, Ints]) -> bool:
        fallen = np.count_nonzero((scores(a) > best)[~own] & right)
        return bool(fallen * 100 > lost * np.count_nonzero(right))

    for _ in range(HALVINGS):
        for _ in range(ROUNDS):
            a = {i: _whole(one) for i, one in fine.items()}
            score = scores(a)
            v = np.where(own, score - best, best - score)
            c = ((reach - v) * UNIT // (2 * reach)).clip(0, UNIT) * share
            c = np.where(own, c, -c)
            for i in layers:
                move = c @ (p[i] - a[i]) // (UNIT << SHARE - FRACTION)
                fine[i] = (fine[i] + move).clip(0, LARGEST << FRACTION)
        if not too_many_fall({i: _whole(one) for i, one in fine.items()}):
            break
        reach = max(1, reach // 2)
    centre = {i: p[i][~own].sum(0) * (1 << FRACTION) // len(known) for i in layers}
    for part in range(FURTHEST + 1):
        a = {i: _whole((one + (one - centre[i]) * part // PARTS).clip(0, LARGEST << FRACTION))
             for i, one in fine.items()}  # fmt: skip
        if not too_many_fall(a):
            break
    for i, one in a.items():
        state[f"layer{i}.anchors"][row] = one
    session.runner.set_state(state)


def _others(
    scores: NDArray[np.int32], row: int, own: NDArray[np.bool_], rows: Ints
) -> tuple[Ints, int, NDArray[np.bool_]]:
    """The best score of another class than the new one [B]; R from the known samples' leads; which
    of these were recognised [m].
    """
    scores = scores.astype(np.int64)
    scores[:, row] = np.iinfo(np.int64).min
    best = scores.max(1)
    known = scores[~own]
    each = np.arange(len(known))
    own_score = known[each, rows]
    known[each, rows] = np.iinfo(np.int64).min
    lead = own_score - known.max(1)
    return best, max(1, REACH * int(np.median(lead))), lead > 0


def _whole(fine: Ints) -> Ints:
    return (fine + (1 << FRACTION - 1)) >> FRACTION
