"""Fine-tuning on the device: a stream of labelled images, learned inside the exported program.

The rates follow the error inside the program (`dfedge.compile.pace`), so that no schedule is needed
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
from dfedge.device.care import HELD_BACK, MOST_HELD_BACK, NO_CARE, Care, GuardReport
from dfedge.device.lock import alone
from dfedge.device.rates import set_rates
from dfedge.device.session import Session
from dfedge.errors import UsageError
from dfedge.progress import Count


@dataclass(frozen=True)
class Outcome:
    """What a fine-tuning run did.

    Attributes:
        samples: presentations learned by this call.
        steps: update steps of this call.
        accuracy: fraction of the new samples recognised just before being learned.
        active: mean fraction of samples that moved each layer.
        resumed: presentations of the same job that an earlier, interrupted call had learned.
        judged: what the guard saw; None without one.
        saved: presentations in all of the state that this call saved last; 0: it saved none.
    """

    samples: int
    steps: int
    accuracy: float
    active: list[float]
    resumed: int
    judged: GuardReport | None = None
    saved: int = 0


@dataclass(frozen=True)
class Step:
    """One update step: how far the job is, and what the step saw.

    Attributes:
        done: presentations of the job so far, with those of an interrupted call.
        size: presentations of this step.
        right: how many of the new ones were recognised before they were learned.
        active: samples that moved each layer, int64 [L].
        new: how many were new; the others were replayed.
    """

    done: int
    size: int
    right: int
    active: NDArray[np.int64]
    new: int


def steps(
    session: Session,
    split: Split,
    job: store.FinetuneJob,
    saving: store.Saving | None = None,
    on_saved: Callable[[int], None] = lambda _: None,
) -> Iterator[Step]:
    """Learn ``job.samples`` presentations of the split, step by step, keeping the state as it goes.

    The order is a function of the job's seed and of how much the state has learned before, and
    saves fall on the same steps of the job, so an interrupted job, called again, ends in the same
    bytes as one that never stopped.  `store.Saving.stop` saves once more, which changes no state.
    The state folder is held against other writers until the end.

    Between two steps other threads have their turns.  What they teach meanwhile is kept; only then
    an interrupted job, called again, begins anew.

    Args:
        saving: when the state is saved on the way, and whether to stop; the end is always saved.
        on_saved: called with the presentations of every save that is on the medium.

    Raises:
        UsageError: a job with a field out of its range.
        ResourceError: the state folder is in use or cannot be written, or a step failed.
    """
    with session.lock.alone:
        job = continued(session.record, said(job, session.care))
        if job.done >= job.samples:
            return
        session.settle()
        if not job.done:
            session.record = began(session.record)
    with session.store.writing():
        saver = store.Saver(session.store, saving or store.Saving(), on_saved)
        try:
            yield from _learn(session, split, job, saver)
            saver.wait()
        finally:
            saver.close()


def said(job: store.FinetuneJob, care: Care) -> store.FinetuneJob:
    """The job with the care that it is done with: another is another job.

    Raises:
        UsageError: a field out of its range, with which a saved state could not be read again.
    """
    words = [name for name in ("replay", "guard", "replace") if getattr(care, name)]
    try:
        return msgspec.convert(
            msgspec.structs.asdict(job) | {"care": " ".join(words)}, store.FinetuneJob
        )
    except msgspec.ValidationError as error:
        raise UsageError(f"invalid value for the job: {error}") from error


def _learn(
    session: Session, split: Split, job: store.FinetuneJob, saver: store.Saver
) -> Iterator[Step]:
    care = session.care
    set_rates(session, job.pace, job.slower)
    new = np.arange(len(split))
    if care != NO_CARE:
        new, judging = held_back(split, job, care)
        judged_by = (session.input(judging.x), judging.y) if len(judging) else None
        session.keeper.watch(judged_by, job.samples - job.done)
    saved = session.record.samples
    while job.done < job.samples:
        job, step = _one_step(session, split, job, new)
        last, stopped = job.done >= job.samples, saver.saving.stop()
        if last or stopped or saver.due(-(-job.done // job.batch)):
            stored = session.keeper.good if care.guard else session.stored()
            if stored.record.samples > saved or last:
                saver.save(stored)
                saved = stored.record.samples
        yield step
        if stopped:
            return


@alone
def _one_step(
    session: Session, split: Split, job: store.FinetuneJob, new: NDArray[np.int64]
) -> tuple[store.FinetuneJob, Step]:
    """Learn the next batch of the new samples, given by number; judged where it is the last."""
    care, record = session.care, session.record
    size = min(job.batch, job.samples - job.done)
    wanted = fresh(size, record) if care.replays else size
    index = new[shuffled(len(new), job.seed, record.samples - record.replayed, wanted)]
    job = msgspec.structs.replace(job, done=job.done + size)
    session.record = msgspec.structs.replace(record, job=job)
    if wanted:
        lesson = session.learn_batch(split.x[index], split.y[index], presented=size)
    else:
        lesson = session.replay(size)
    right = int((lesson.scores.argmax(1) == split.y[index]).sum())
    if care.guard and job.done >= job.samples:
        session.keeper.judge()
    return job, Step(job.done, size, right, lesson.active, wanted)


def held_back(split: Split, job: store.FinetuneJob, care: Care) -> tuple[NDArray[np.int64], Split]:
    """The samples that are learned, by number, and those that judge instead."""
    count = min(len(split) // HELD_BACK, MOST_HELD_BACK)
    if not care.guard or count < HELD_BACK:
        count = 0
    order = shuffled(len(split), job.seed, 0, len(split))
    return np.sort(order[count:]), split.take(order[:count])


def finetune(
    session: Session,
    split: Split,
    job: store.FinetuneJob,
    watch: Count = lambda *_: None,
    saving: store.Saving | None = None,
) -> Outcome:
    """Run `steps` to the end, or to where ``saving`` stops it."""
    taken, saved = list[Step](), [0]
    resumed = continued(session.record, said(job, session.care)).done
    for step in steps(session, split, job, saving, saved.append):
        taken.append(step)
        watch(step.done, job.samples)
    samples = sum(step.size for step in taken)
    active = sum(
        (step.active for step in taken), np.zeros(len(session.bundle.manifest.plan.layers))
    )
    return Outcome(
        samples=samples,
        steps=len(taken),
        accuracy=sum(step.right for step in taken) / max(sum(step.new for step in taken), 1),
        active=[round(float(a) / max(samples, 1), 4) for a in active],
        resumed=resumed,
        judged=session.keeper.judged() if session.care.guard and taken else None,
        saved=saved[-1],
    )


def continued(record: store.StateRecord, job: store.FinetuneJob) -> store.FinetuneJob:
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


def fresh(size: int, record: store.StateRecord) -> int:
    """New samples of the next ``size`` presentations; all others are replayed."""
    return (record.samples + size) // 2 - record.samples // 2


def began(record: store.StateRecord) -> store.StateRecord:
    """The record of a run that begins: periods are short, rates are whole."""
    return msgspec.structs.replace(record, caution=0, doublings=0)
