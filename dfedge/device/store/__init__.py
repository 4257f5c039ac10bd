"""The state folder: what was learned on this device, beside a bundle that never changes.

    slot-a, slot-b   two whole states (`dfedge.device.store.slot`), written in turns
    fleet-base       of a device of a fleet: the base that it took last
    lock             held by the one process that writes

A save writes the older slot: to a temporary file, flushed, renamed over the slot, the folder
flushed.  Whenever power fails, the other slot holds the last acknowledged state.  (The first save
writes both, so that a missing slot is always noticed.)  Opening takes the newest slot whose
checksums fit, and says what it skipped.

A save writes the state once, with about 2 KB of header: every n steps that is (state + 2 KB) / n
bytes a step.  There is no journal of steps: the stream's order is a function of the job's seed and
of how far it came (both in the record), the dither's phase and the rates are state, so the steps
after the last save are learned again, to the same bytes, and nothing need be written for them.
"""

from dfedge.device.store.record import FinetuneJob, StateRecord, belonging
from dfedge.device.store.remembered import Remembered, nothing, with_class
from dfedge.device.store.saver import Saver, Saving
from dfedge.device.store.store import (
    FLEET_BASE,
    LOCK,
    SLOTS,
    Store,
    StoredState,
    check_rollback,
    default_folder,
    moments,
)

__all__ = [
    "FLEET_BASE",
    "LOCK",
    "SLOTS",
    "FinetuneJob",
    "Remembered",
    "Saver",
    "Saving",
    "StateRecord",
    "Store",
    "StoredState",
    "belonging",
    "check_rollback",
    "default_folder",
    "moments",
    "nothing",
    "with_class",
]
