"""Fine-tuning on the device: a stream of labelled images, learned inside the exported program.

The rates follow the error inside the program (`dfedge.lower.pace`), so that no schedule is needed
and the length of the stream need not be known.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Split
from dfedge.data.order import shuffled
from dfedge.device import store
from dfedge.device.session import Session

Watch = Callable[[int, int], None]
"""Called with (presentations done, presentations in all)."""


@dataclass(frozen=True)
class Outcome:
    """What a fine-tuning run did.

    Attributes:
        samples: presentations learned by this call.
        steps: update steps of this call.
        accuracy: fraction recognised just before being learned, over this call.
        active: mean fraction of samples that moved each layer.
        resumed: presentations of the same job that an earlier, interrupted call had learned.
    """

    samples: int
    steps: int
    accuracy: float
    active: list[float]
    resumed: int


def set_rates(session: Session, pace: int | None) -> None:
    """Write the session's rates into the state, and the job's pace where it has one."""
    state = session.runner.get_state() | session.rates
    if pace is not None:
        state["pace"] = np.array(pace, np.int32)
    session.runner.set_state(state)


@dataclass(frozen=True)
class Step:
    """One update step: how far the job is, and what the step saw.

    Attributes:
        done: presentations of the job so far, with those of an interrupted call.
        size: presentations of this step.
        right: how many of them were recognised before they were learned.
        active: samples that moved each layer, int64 [L].
    """

    done: int
    size: int
    right: int
    active: NDArray[np.int64]


def steps(
    session: Session,
    split: Split,
    job: store.Job,
    saving: store.Saving | None = None,
    on_saved: Callable[[int], None] = lambda _: None,
) -> Iterator[Step]:
    """Learn ``job.samples`` presentations of the split, step by step, keeping the state as it goes.

    The order is a function of the job's seed and of how much the state has learned before, and
    saves fall on the same steps of the job, so an interrupted job, called again, ends in the same
    bytes as one that never stopped.  The state folder is held against other writers until the end.

    Args:
        saving: when the state is saved on the way; it always is at the end.
        on_saved: called with the presentations of every save that is on the medium.

    Raises:
        ResourceError: the state folder is in use or cannot be written, or a step failed.
    """
    job = continued(session.record, job)
    if job.done >= job.samples:
        return
    with session.store.writing():
        saver = store.Saver(session.store, saving or store.Saving(), on_saved)
        try:
            yield from _learn(session, split, job, saver)
            saver.save(session.stored())
            saver.wait()
        finally:
            saver.close()


def _learn(session: Session, split: Split, job: store.Job, saver: store.Saver) -> Iterator[Step]:
    set_rates(session, job.pace)
    while job.done < job.samples:
        size = min(job.batch, job.samples - job.done)
        index = shuffled(len(split), job.seed, job.start + job.done, size)
        lesson = session.learn_batch(split.x[index], split.y[index])
        right = int((lesson.scores.argmax(1) == split.y[index]).sum())
        job = msgspec.structs.replace(job, done=job.done + size)
        session.record = msgspec.structs.replace(session.record, job=job)
        if job.done < job.samples and saver.due(job.done // job.batch):
            saver.save(session.stored())
        yield Step(job.done, size, right, lesson.active)


def finetune(
    session: Session,
    split: Split,
    job: store.Job,
    watch: Watch = lambda *_: None,
    saving: store.Saving | None = None,
) -> Outcome:
    """Run `steps` to the end."""
    taken, resumed = [], continued(session.record, job).done
    for step in steps(session, split, job, saving):
        taken.append(step)
        watch(step.done, job.samples)
    samples = sum(step.size for step in taken)
    active = sum(
        (step.active for step in taken), np.zeros(len(session.bundle.manifest.plan.layers))
    )
    return Outcome(
        samples=samples,
        steps=len(taken),
        accuracy=sum(step.right for step in taken) / max(samples, 1),
        active=[round(float(a) / max(samples, 1), 4) for a in active],
        resumed=resumed,
    )


def continued(record: store.Record, job: store.Job) -> store.Job:
    """The job as it was left, if it is the last that the state learned; else new.

    A finished job is new again, unless its samples are a total: then nothing of it is left to do.
    A total may also be raised later.
    """
    last = record.job
    if last is None or last.start + last.done != record.samples:
        return msgspec.structs.replace(job, start=record.samples)
    samples = job.samples if job.total else last.samples
    same = msgspec.structs.replace(last, done=0, start=0, samples=samples) == job
    if same and (job.total or last.done < last.samples):
        return msgspec.structs.replace(last, samples=samples)
    return msgspec.structs.replace(job, start=record.samples)
