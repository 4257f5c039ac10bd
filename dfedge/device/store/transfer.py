"""Learned state looked at, taken out, brought in and compared."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge import state
from dfedge.atomic import write_out
from dfedge.bundle import Bundle
from dfedge.device.store import exchange
from dfedge.device.store.record import FinetuneJob, belonging
from dfedge.device.store.remembered import joined, parted
from dfedge.device.store.store import Store, StoredState, check_fits
from dfedge.errors import DfedgeError, ResourceError
from dfedge.plan import MAX_PACE, MAX_UPDATE_SHIFT
from dfedge.regular import read_bytes

RANGES = {
    "weight_shift": (0, MAX_UPDATE_SHIFT),
    "anchor_shift": (0, MAX_UPDATE_SHIFT),
    "live": (0, 1),
    "phase": (0, (1 << 16) - 1),
    "error": (0, 1 << 16),
    "usual_error": (0, 1 << 16),
    "pace": (0, MAX_PACE),
    "anchors": (0, 127),
}
"""Last part of a tensor's name -> least and greatest value that a training step ever leaves."""


class StateSummary(msgspec.Struct, frozen=True):
    """What a state folder holds; ``slot`` None: nothing yet, so the bundle's own state counts."""

    folder: str
    bundle: str
    lineage: str
    bundle_version: int
    slot: str | None
    sequence: int
    step: int
    samples: int
    state_sha256: str
    state_bytes: int
    job: FinetuneJob | None
    notes: list[str]


class Movement(msgspec.Struct, frozen=True):
    """How far learning moved one tensor: fraction of its values, mean and largest step."""

    tensor: str
    changed: float
    mean_step: float
    largest_step: int


def current(store: Store, bundle: Bundle) -> StoredState:
    """What the folder holds, else the bundle's own state.

    Raises:
        DfedgeError: as `Store.load`.
    """
    return store.load(bundle) or StoredState(bundle.initial_state(), belonging(bundle))


def learned(store: Store, bundle: Bundle) -> StoredState:
    """What the folder holds.

    Raises:
        DfedgeError: nothing was learned yet, or as `Store.load`.
    """
    stored = store.load(bundle)
    if stored is None:
        raise DfedgeError(f"{store.folder} holds nothing that was learned; finetune first")
    return stored


def show(store: Store, bundle: Bundle) -> StateSummary:
    """Describe a state folder.

    Raises:
        DfedgeError: as `Store.load`.
    """
    stored = current(store, bundle)
    return StateSummary(
        folder=str(store.folder),
        bundle=bundle.sha256,
        lineage=bundle.manifest.lineage,
        bundle_version=bundle.manifest.bundle_version,
        slot=store.slot,
        sequence=store.sequence,
        step=stored.record.steps,
        samples=stored.record.samples,
        state_sha256=state.digest(stored.state),
        state_bytes=state.size_bytes(stored.state),
        job=stored.record.job,
        notes=store.notes,
    )


def take_out(store: Store, bundle: Bundle, out: Path) -> StoredState:
    """Write what was learned to one file (`exchange`).

    Raises:
        DfedgeError: nothing was learned yet, or as `Store.load`.
        ResourceError: ``out`` cannot be written.
    """
    stored = learned(store, bundle)
    try:
        write_out(out, exchange.write(joined(stored.state, stored.remembered), stored.record))
    except OSError as error:
        raise ResourceError(f"{out}: cannot be written ({error.strerror})") from error
    return stored


def bring_in(store: Store, bundle: Bundle, source: Path) -> StoredState:
    """Save a file's state as the newest.

    Raises:
        DfedgeError: no such file, damaged, of another bundle, or with values that no step leaves.
        ResourceError: it cannot be saved.
    """
    stored = read_file(bundle, source)
    store.load(bundle)
    store.save(stored)
    return stored


def read_file(bundle: Bundle, source: Path) -> StoredState:
    """Read a file of `take_out`.

    Raises:
        DfedgeError: as `bring_in`.
    """
    try:
        raw = read_bytes(source)
    except OSError as error:
        raise DfedgeError(f"{source}: cannot be read ({error.strerror})") from error
    tensors, record = exchange.parse(raw, source)
    if record.bundle_sha256 != bundle.sha256:
        raise DfedgeError(
            f"{source} is of another bundle ({record.bundle_sha256[:12]}, this one is "
            f"{bundle.sha256[:12]}); bring it into the bundle that it was learned on"
        )
    learned, kept = parted(tensors, record, bundle, source)
    check_fits(learned, record, bundle, source)
    check_values(learned, source)
    return StoredState(learned, belonging(bundle, record), remembered=kept)


def compare(now: state.State, before: state.State) -> list[Movement]:
    """How far each tensor moved that may move, in name order."""
    return [
        _movement(name, np.asarray(now[name]), np.asarray(before[name]))
        for name in sorted(before)
        if name.endswith(state.MOVED) or name == "planes"
    ]


def _movement(name: str, now: NDArray[Any], before: NDArray[Any]) -> Movement:
    step = np.abs(now.astype(np.int64) - before.astype(np.int64))
    return Movement(
        name, round(float((step > 0).mean()), 4), round(float(step.mean()), 4), int(step.max())
    )


def check_values(learned: state.State, where: Path) -> None:
    """Refuse values that no training step leaves.

    Raises:
        DfedgeError: naming the tensor.
    """
    for name, value in learned.items():
        least, greatest = RANGES.get(name.rsplit(".", 1)[-1], (None, None))
        if least is None or not value.size:
            continue
        if value.min() < least or value.max() > greatest:
            raise DfedgeError(
                f"{where}: tensor '{name}' reaches from {value.min()} to {value.max()}; "
                f"allowed: {least} to {greatest}"
            )
