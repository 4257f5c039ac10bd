"""Classes that come to a device: into the spare anchor rows of the exported program."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.device.anchors import mean
from dfedge.device.lock import alone
from dfedge.device.session import Session
from dfedge.device.store import with_class
from dfedge.errors import DfedgeError
from dfedge.names import class_flaw, spelled


def spare_rows(session: Session) -> int:
    """How many classes can still be added."""
    return session.bundle.manifest.plan.classes - len(session.classes)


def check_spare(session: Session, names: list[str]) -> None:
    """Refuse more new classes than there are spare rows.

    Raises:
        DfedgeError: naming the classes; nothing was changed.
    """
    spare = spare_rows(session)
    if len(names) > spare:
        raise DfedgeError(
            f"{', '.join(names)}: {len(names)} new class(es), {session.bundle.folder} has {spare} "
            f"spare row(s); export it with --spare-classes {len(names)} or more"
        )


@alone
def add_class(session: Session, name: str, x: NDArray[Any]) -> int:
    """Give a class a row, its anchors set to the means of what each layer sees of images x.

    A frozen layer whose anchors are all zero has no say
    (`retire`) and keeps none.

    Args:
        x: uint8 [n, H, W] or [n, H, W, C].

    Returns:
        The row.

    Raises:
        DfedgeError: a name that is there, no spare row, images that cannot be used; the state is as
            it was.
    """
    session.settle()
    state, name = session.runner.get_state(), spelled(name)
    known = [k for k, live in zip(session.classes, state["live"], strict=False) if live]
    flaw = class_flaw([name])
    if flaw is not None or name in map(spelled, known):
        raise DfedgeError(
            f"class '{name[:80]}': {flaw or 'is there already'}; known: {', '.join(known)}"
        )
    check_spare(session, [name])
    plan, row = session.bundle.manifest.plan, len(session.classes)
    sums, q = [np.zeros(layer.features, np.int64) for layer in plan.layers], session.input(x)
    for _, seen, _ in session.seen(q):
        for total, p in zip(sums, seen, strict=True):
            total += p.sum(0, dtype=np.int64)
    for i, total in enumerate(sums):
        anchors = state[f"layer{i}.anchors"]
        if i >= plan.cut or anchors.any():
            anchors[row] = mean(total, len(x))
    state["live"][row] = 1
    session.runner.set_state(state)
    record = session.record
    session.record = msgspec.structs.replace(record, added=(*record.added, name))
    if session.care.replays:
        session.remembered = with_class(session.remembered, row, q)
    return row


@alone
def retire(session: Session) -> None:
    """Let no class live any more, so that a stream's own take their places.

    Frozen layers lose their anchors as well: they know only the old classes, and with anchors of
    zeros their scores are zero.
    """
    session.settle()
    state, plan = session.runner.get_state(), session.bundle.manifest.plan
    state["live"][:] = 0
    for i in range(plan.cut):
        state[f"layer{i}.anchors"][:] = 0
    session.runner.set_state(state)
