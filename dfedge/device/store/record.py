"""What a state says of itself, beside its tensors."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from dfedge.bundle import Bundle
from dfedge.limits import MAX_COUNT, Count, MaybeHash, Natural
from dfedge.manifest import Lineage
from dfedge.names import class_flaw
from dfedge.plan import MAX_PACE

Few = Annotated[int, Meta(ge=0, le=16)]


class FinetuneJob(msgspec.Struct, frozen=True):
    """A fine-tuning run and how far it came: repeated after a crash, the same job goes on.

    Attributes:
        samples: presentations to learn.
        done: presentations learned.
        start: presentations that the state had learned before the job.
        pace: how far its rates may slow down while there is little to learn (0: they stay); None:
            as the bundle has it.
        slower: added to all shifts: how many times the rates are halved.
        care: what kept it from doing harm, in words (`dfedge.device.care.Care`).
        total: ``samples`` counts all calls of this job: repeated at its end, it has nothing to do.
    """

    data: str
    split: str
    shift: str
    seed: Annotated[int, Meta(ge=0)]
    batch: Annotated[int, Meta(ge=1, le=MAX_COUNT)]
    samples: Count
    done: Count = 0
    start: Count = 0
    total: bool = False
    pace: Annotated[int, Meta(ge=0, le=MAX_PACE)] | None = None
    slower: Annotated[int, Meta(ge=-64, le=64)] = 0
    care: str = ""


class StateRecord(msgspec.Struct, frozen=True):
    """What a state folder says of itself.

    Attributes:
        bundle_sha256: of the bundle that the state belongs to.
        samples: presentations learned so far, over all jobs and single calls.
        replayed: how many of them were samples that the bundle brings.
        job: the last fine-tuning run.
        steps: update steps taken so far (0 in a state older than this count).
        added: names of the classes that were added on this device, in the order of their rows.
        doublings: how much longer the guard's periods have become (`dfedge.device.care`).
        caution: how often it halves the rates.
        guarded: the state's rates are those under a guard.
        fleet_base: digest of the base that the state was last taken from (`dfedge.fleet.take`);
            empty: the bundle's own first state.
        lineage, bundle_version, semantics_version: of that bundle, as its manifest has them; empty
            and 0 in a state that an older dfedge saved.
    """

    bundle_sha256: str
    samples: Count = 0
    job: FinetuneJob | None = None
    steps: Count = 0
    added: tuple[str, ...] = ()
    replayed: Count = 0
    doublings: Few = 0
    caution: Few = 0
    guarded: bool = False
    fleet_base: MaybeHash = ""
    lineage: Lineage = ""
    bundle_version: Natural = 0
    semantics_version: Natural = 0

    def flaw(self, classes: Sequence[str], rows: int) -> str | None:
        """What cannot be right of a bundle's record, or None.

        Args:
            classes: of the bundle.
            rows: of its plan, for classes.
        """
        if self.replayed > self.samples:
            return f"replayed: {self.replayed:,} of {self.samples:,} presentations"
        if len(self.added) > rows - len(classes):
            return f"added: {len(self.added)} classes for {rows - len(classes)} spare rows"
        flaws = (class_flaw([name]) for name in self.added)  # one by one: a name may come again
        return next((f"added: {flaw}" for flaw in flaws if flaw), None)


def belonging(bundle: Bundle, record: StateRecord | None = None) -> StateRecord:
    """A record, at first one of nothing learned, of a state that belongs to this bundle."""
    manifest = bundle.manifest
    return msgspec.structs.replace(
        record or StateRecord(bundle.sha256),
        bundle_sha256=bundle.sha256,
        lineage=manifest.lineage,
        bundle_version=manifest.bundle_version,
        semantics_version=manifest.semantics_version,
    )
