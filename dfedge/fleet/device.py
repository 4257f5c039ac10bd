"""What a device does in a round: take the base, learn its own data, make a delta."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.device.care import Care
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob, Saving, Store, StoredState
from dfedge.errors import UsageError
from dfedge.fleet.difference import EVERYTHING, Shared, difference
from dfedge.fleet.take import taken
from dfedge.plan import MAX_UPDATE_SHIFT
from dfedge.state import digest


@dataclass(frozen=True)
class Task:
    """What is learned in a round.

    Rates begin with those that were measured, not with those that the trial at export found to do
    no harm to a lone device: a merge takes the mean of what devices did too fast
    (examples/experiments/fleet.py).

    Attributes:
        steps, batch: of a round.
        anchors_only: no weight moves.
        shared: what travels.
        pace, slower, seed: as a `Job` has them; pace 0: a device's rates do not rest where it alone
            has little to learn.
        care: the device's; by default nothing is kept, neither by replay nor by a guard.
    """

    steps: int = 8
    batch: int = 16
    anchors_only: bool = False
    shared: Shared = EVERYTHING
    pace: int | None = None
    slower: int = 0
    seed: int = 0
    care: Care = field(default_factory=lambda: Care(replay=False, guard=False, replace=True))


def round_of(
    bundle: Bundle,
    base: StoredState,
    learns: Split,
    task: Task,
    folder: Path,
    name: str,
    runtime: str | None = None,
) -> bytes:
    """A device's delta, not signed; its state is saved first.

    A device that was stopped after that, called again, does not learn the round twice.

    Args:
        learns: the device's samples.
        folder: of its state.
        name: of the device.

    Raises:
        UsageError, DfedgeError, ResourceError: as `taken`, `finetune` and `difference`.
    """
    store = Store(folder)
    own = store.load(bundle) or base
    began_here = own.record.fleet_base == digest(base.state)
    if not (began_here and own.record.samples > base.record.samples):
        store.save(taken(bundle, own, base, folder, task.shared))
        own = learn(bundle, learns, task, folder, runtime)
    return difference(bundle, own, base, folder, task.shared, name)


def check_learns(bundle: Bundle) -> None:
    """Refuse a bundle that does not learn from labels.

    Raises:
        UsageError: it knows what is normal.
    """
    if bundle.manifest.normal is not None:
        raise UsageError(
            f"{bundle.folder} knows what is normal, and learns it without labels; a fleet needs a "
            "bundle that tells classes"
        )


def learn(
    bundle: Bundle, learns: Split, task: Task, folder: Path, runtime: str | None = None
) -> StoredState:
    """A round's steps, from what the state folder holds; what was learned is saved there.

    Raises:
        UsageError, DfedgeError, ResourceError: as `check_learns` and `finetune`.
    """
    check_learns(bundle)
    session = Session.open(bundle, runtime, folder, care=task.care)
    if task.anchors_only:
        shift = session.rates["weight_shift"]
        session.rates["weight_shift"] = np.full_like(shift, MAX_UPDATE_SHIFT)
    found_slower = 0 if task.care.guard else bundle.manifest.learning.slower
    job = FinetuneJob(
        "",
        "fleet",
        "",
        task.seed,
        task.batch,
        task.steps * task.batch,
        pace=task.pace,
        slower=task.slower - found_slower,
    )
    finetune(session, learns, job, saving=Saving(0))
    return session.stored()
