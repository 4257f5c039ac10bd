"""A class that the device has never seen, from a few labelled samples.

First its anchors are set to the means of what each layer sees of the samples
(`dfedge.device.classes`), then moved on among those of the other classes (`placing`).  Of those the
device holds samples that the bundle brings (`known`), and some of each class that was added.  What
is lost of what was known is counted on other samples, that only judge.  Where the bundle brings
none (``dfedge train --no-keep``), of its golden samples every second one of each class judges, and
anchors are placed among the others.  Steps of training may follow, one half of every batch the new
samples, the other half the known ones.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
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
        lost: of 100 samples that judge, how many may be lost, over all classes that are added.

    Raises:
        DfedgeError: a name that is there, no spare row, images that cannot be used; the state is as
            it was.
    """
    row = add_class(session, name, x)
    among, judge = _samples(session.bundle)
    new, (old, rows) = session.input(x), _others(session, row, among)
    if len(rows):
        _place(session, row, new, (old, rows), judge, lost)
    half, rng = BATCH // 2, np.random.default_rng(seed)
    for _ in range(steps):
        again = rng.choice(len(new), half, replace=len(new) < half)
        known = rng.choice(len(old), min(half, len(old)), replace=False)
        q = np.concatenate([new[again], old[known]])
        session.learn_input(q, np.concatenate([np.full(half, row), rows[known]]))
    return row


def _place(
    session: Session, row: int, new: NDArray[np.int8], others: Known, judge: Known, lost: int
) -> None:
    """Place the row.  The anchors of all classes move.

    Once the device has learned something else, only the new row's do: anchors that were fitted to
    the bundle's samples would lose what was learned.  So it is without samples of the bundle that
    only judge, as golden samples are few.
    """
    record, bundle = session.record, session.bundle
    learned = record.steps or record.fleet_base or not bundle.brings_samples
    old, rows = others
    seen = look(session, np.concatenate([new, old]), np.append(np.full(len(new), row), rows))
    exam = look(session, *_alive(session, judge))
    place(session, row, seen, exam, lost, None if learned else bundle.initial_state())


def judging(bundle: Bundle) -> Known:
    """Samples that nothing is placed among: what is lost is counted on them."""
    return _samples(bundle)[1]


def _samples(bundle: Bundle) -> tuple[Known, Known]:
    """To place among, and to judge by: of golden samples every second one of each class."""
    q, rows = known = known_samples(bundle)
    if bundle.brings_samples:
        return known, judging_samples(bundle)
    odd = np.tril(rows[:, None] == rows, -1).sum(1) % 2 == 1
    return (q[~odd], rows[~odd]), (q[odd], rows[odd])


def _others(session: Session, row: int, among: Known) -> Known:
    """Samples of the other live classes: the bundle's, and what is remembered of added ones."""
    (q, rows), (added, added_rows) = among, session.remembered
    q, rows = np.concatenate([q, added]), np.append(rows, added_rows).astype(np.int64)
    return _alive(session, (q[rows != row], rows[rows != row]))


def _alive(session: Session, known: Known) -> Known:
    """Those of live classes."""
    q, rows = known
    live = session.runner.get_state()["live"][rows] == 1
    return q[live], rows[live]
