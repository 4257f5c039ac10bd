"""A class that the device has never seen, from a few labelled samples.

First its anchors are set to the means of what each layer sees of the samples
(`dfedge.device.classes`), then moved on among those of the other classes (`placing`).  Of those the
device holds samples that the bundle brings (`known`), and some of each class that was added.  Steps
of training may follow, one half of every batch the new samples, the other half the known ones.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfedge.continual.placing import LOST, look, place
from dfedge.data.dataset import Images, Split
from dfedge.device.classes import add_class
from dfedge.device.evaluate import recognised
from dfedge.device.known import Known, judging_samples, known_samples
from dfedge.device.lock import alone
from dfedge.device.session import Session

BATCH = 16
STEPS = 0
"""Steps by default."""


class Recognised(NamedTuple):
    """How many samples were recognised, of how many."""

    right: int
    of: int


def right(session: Session, x: Images, row: int) -> int:
    """How many of a class's samples are recognised."""
    return int(recognised(session, Split(x, np.full(len(x), row))).sum())


def known_right(session: Session) -> Recognised:
    """Of the samples that the bundle brings to judge by, which it was never trained on."""
    q, rows = judging_samples(session.bundle)
    return Recognised(int((session.scores_of_input(q).argmax(1) == rows).sum()), len(rows))


@alone
def learn_class(
    session: Session, name: str, x: Images, steps: int = STEPS, seed: int = 0, lost: int = LOST
) -> int:
    """Add a class and learn it; its row.

    Args:
        x: uint8 [n, H, W] or [n, H, W, C].
        steps: 0 sets the anchors only.
        lost: of 100 known samples, how many may be lost, over all classes that are added.

    Raises:
        DfedgeError: a name that is there, no spare row, images that cannot be used; the state is as
            it was.
    """
    row = add_class(session, name, x)
    new, (old, rows) = session.input(x), _others(session, row)
    if len(rows):
        _place(session, row, new, (old, rows), lost)
    half, rng = BATCH // 2, np.random.default_rng(seed)
    for _ in range(steps):
        again = rng.choice(len(new), half, replace=len(new) < half)
        known = rng.choice(len(old), min(half, len(old)), replace=False)
        q = np.concatenate([new[again], old[known]])
        session.learn_input(q, np.concatenate([np.full(half, row), rows[known]]))
    return row


def _place(session: Session, row: int, new: NDArray[np.int8], others: Known, lost: int) -> None:
    """Place the row: all anchors move where that recognises no fewer of the samples that judge.

    Once the device has learned something else, only the new row moves: anchors that were fitted to
    the bundle's samples would lose what was learned.  So it is without samples of the bundle that
    only judge.
    """
    begun, seen = session.runner.get_state(), look(session, row, new, *others)
    place(session, row, seen, lost)
    if session.record.steps or session.record.fleet_base or not session.bundle.known():
        return
    placed, kept = session.runner.get_state(), known_right(session).right
    session.runner.set_state(begun)
    place(session, row, seen, lost, every=True)
    if known_right(session).right < kept:
        session.runner.set_state(placed)


def _others(session: Session, row: int) -> Known:
    """Samples of the other live classes: the bundle's, and what is remembered of added ones."""
    (q, rows), (added, added_rows) = known_samples(session.bundle), session.remembered
    q, rows = np.concatenate([q, added]), np.append(rows, added_rows).astype(np.int64)
    other = (session.runner.get_state()["live"][rows] == 1) & (rows != row)
    return q[other], rows[other]
