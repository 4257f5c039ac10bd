"""A recorded run of real training steps, each saved; and what a loss of power makes of it."""

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from dfedge.bundle import Bundle
from dfedge.device.session import Session
from dfedge.device.store import Store
from dfedge.errors import DfedgeError
from dfedge.state import digest
from trials.powerloss import Event, Image, Losses, Recorder, lose_power


@dataclass(frozen=True)
class Recording:
    """Calls of the store on its disk, and the state of every save."""

    bundle: Bundle
    root: Path
    events: list[Event]
    digests: list[str]

    def found_by(self, image: Image) -> int:
        """The number of the save that the store opens in an image; 0: none; -1: it refuses."""
        try:
            stored = Store(self.root / "state", read_only=True, disk=image).load(self.bundle)
        except DfedgeError:
            return -1
        if stored is None:
            return 0
        number = stored.record.steps
        return number if digest(stored.state) == self.digests[number] else -1


def record_saves(bundle: Bundle, root: Path, saves: int) -> Recording:
    """Learn and save so many golden batches under ``root``, which must exist.

    The runtime is the first that is installed.
    """
    disk = Recorder()
    session = Session.open(bundle, state=root / "state")
    session.store.disk = disk
    golden, digests = bundle.golden(), [session.digest()]
    for number in range(1, saves + 1):
        step = number % len(golden["x"])
        session.runner.train(golden["x"][step], golden["y"][step])
        session.record = msgspec.structs.replace(session.record, steps=number)
        session.save()
        disk.acknowledge(root, number)
        digests.append(session.digest())
    return Recording(bundle, root, disk.events, digests)


def survey(recording: Recording, left_out: str | None = None) -> Losses:
    """Lose power at every instant; perhaps as if one kind of call had never been made."""
    events = [replace(event) for event in recording.events if event.kind != left_out]
    return lose_power(events, recording.root, recording.found_by)
