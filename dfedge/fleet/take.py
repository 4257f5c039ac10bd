"""A device goes on from a base: what is shared is the fleet's, what is personal stays its own."""

from pathlib import Path

import msgspec
import numpy as np

from dfedge.bundle import Bundle
from dfedge.device.store import Remembered, StoredState, nothing
from dfedge.errors import DfedgeError
from dfedge.fleet.difference import EVERYTHING, Shared
from dfedge.state import digest


def taken(
    bundle: Bundle,
    own: StoredState,
    base: StoredState,
    where: Path,
    shared: Shared = EVERYTHING,
) -> StoredState:
    """The state that the device goes on from.

    The record is the base's, so that what is learned from now on is what it has more.  Classes that
    the device added and the base does not know keep their anchors, in the rows after the base's;
    samples that it remembers stay, in their classes' new rows.

    Args:
        own: what the device has; ``where`` it lies, for errors.

    Raises:
        UsageError: a part that is none.
        DfedgeError: its own classes and the base's are more than there are rows.
    """
    names, first = shared.names(base.state), len(bundle.manifest.classes)
    rows = bundle.manifest.plan.classes
    left = tuple(name for name in own.record.added if name not in base.record.added)
    added = (*base.record.added, *left)
    if first + len(added) > rows:
        raise DfedgeError(
            f"{where}: the base brings {len(base.record.added)} classes, and {', '.join(left)} "
            f"are this device's own: {len(added)} for {rows - first} spare rows; export with "
            "more --spare-classes, or delete what was learned here: dfedge state reset"
        )
    places = {first + i: first + added.index(name) for i, name in enumerate(own.record.added)}
    state = {name: value.copy() for name, value in base.state.items()}
    for name, value in own.state.items():
        if name not in names and name.endswith(".anchors"):
            state[name][:first] = value[:first]
            for row, place in places.items():
                state[name][place] = value[row]
        elif name not in names and name.endswith(".weight"):
            state[name] = value
        elif name.endswith(".anchors"):
            for row, place in places.items():
                if own.record.added[row - first] in left:
                    state[name][place] = value[row]
    for name in left:
        state["live"][first + added.index(name)] = 1
    record = msgspec.structs.replace(base.record, added=added, fleet_base=digest(base.state))
    return StoredState(state, record, remembered=_moved(bundle, own.remembered, places))


def _moved(bundle: Bundle, kept: Remembered | None, places: dict[int, int]) -> Remembered:
    """Samples in the rows that their classes have now."""
    if kept is None or not len(kept[1]):
        return nothing(bundle)
    return kept[0], np.array([places[int(row)] for row in kept[1]], np.int32)
