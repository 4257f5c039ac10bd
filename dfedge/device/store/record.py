"""What a state says of itself, beside its tensors."""

import msgspec


class Job(msgspec.Struct, frozen=True):
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
    seed: int
    batch: int
    samples: int
    done: int = 0
    start: int = 0
    total: bool = False
    pace: int | None = None
    slower: int = 0
    care: str = ""


class Record(msgspec.Struct, frozen=True):
    """What a state folder says of itself.

    Attributes:
        bundle_sha256: of the bundle that the state belongs to.
        samples: presentations learned so far, over all jobs and single calls.
        replayed: how many of them were samples that the bundle brings.
        job: the last fine-tuning run.
        steps: update steps taken so far (0 in a state older than this count).
        added: names of the classes that were added on this device, in the order of their rows.
        doublings: how much longer the guard's periods have become (`dfedge.device.care`).
        caution: how often it halves the rates; below zero, doubles them.
    """

    bundle_sha256: str
    samples: int = 0
    job: Job | None = None
    steps: int = 0
    added: tuple[str, ...] = ()
    replayed: int = 0
    doublings: int = 0
    caution: int = 0
