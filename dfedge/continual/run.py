"""The loop: every sample is judged, then perhaps held back, perhaps learned, and never kept."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.continual import checkpoint
from dfedge.continual.checkpoint import Probe, StreamProgress
from dfedge.continual.gate import Gate
from dfedge.continual.guard import CHECK_EVERY, Guard
from dfedge.continual.rows import LabelRows, check_names
from dfedge.continual.settings import StreamSettings
from dfedge.continual.strategies import generator, open_strategy
from dfedge.data.dataset import Split
from dfedge.data.order import shuffled
from dfedge.data.streams import Stream
from dfedge.device.classes import add_class, retire
from dfedge.device.known import known_samples
from dfedge.device.rates import set_rates
from dfedge.device.session import Session
from dfedge.state import size_bytes, under

SAVE_EVERY = 512
"""Samples between two checkpoints."""
PROBE, PROBES = 200, 5
"""Test samples of each experience that a probe looks at, and probes within one experience."""


@dataclass(frozen=True)
class Moment:
    """The run just after a step: what a view shows.

    Attributes:
        experience: the one that is being learned, from 0.
        accuracy: recognised before learning, over the last 500 samples.
        probed: whether `Progress.probes` or `Progress.matrix` has grown.
    """

    experience: int
    accuracy: float
    probed: bool


class StreamRun:
    """A stream learned by a session, resumable at every step.

    Attributes:
        progress: `dfedge.continual.checkpoint.Progress`.
        right: whether each sample so far was recognised before it was learned.
        resumed: samples from an earlier call.
        saved: samples of the stream whose learning is on the medium.
    """

    def __init__(
        self, session: Session, stream: Stream, settings: StreamSettings, resume: bool = True
    ) -> None:
        """Open the run, where it was left if the session's folder holds the same one unfinished.

        Args:
            resume: False begins anew whatever is there.

        Raises:
            UsageError, DfedgeError: settings that do not suit the bundle, a new class without a
                spare row; the state is as it was.
        """
        self.session, self.stream, self.settings = session, stream, settings
        left = checkpoint.load(session.folder) if resume else None
        self.progress = StreamProgress(
            session.bundle.sha256, settings, _digest(stream), session.record
        )
        self.strategy = open_strategy(session, settings)
        resume = left is not None and self._same(left[0])
        if not resume:
            check_names(session, stream)
            if stream.fresh:
                retire(session)
        self.gate = Gate(session) if settings.gate else None
        self.guard = (
            Guard(session, self.strategy, settings.guard, stream.fresh) if settings.guard else None
        )
        self.waiting = session.input(stream.experiences[0].train.x[:1])[:0]
        self.waiting_rows = np.zeros(0, np.int64)
        self.right: list[int] = []
        self.resumed = self.saved = 0
        if left is not None and resume:
            self._restore(*left)
        else:
            self._begin()
        self.rows = LabelRows(session, stream)

    def _begin(self) -> None:
        """Before the first sample: the rates, and what the memory starts with."""
        settings, session = self.settings, self.session
        if settings.offset or settings.pace is not None:
            set_rates(session, settings.pace, settings.offset)
        if settings.remember:
            if self.stream.past is not None:
                q, rows = (
                    session.input(self.stream.past.x),
                    LabelRows(session, self.stream).of(self.stream.past.y),
                )
            else:
                q, rows = known_samples(session.bundle)
            few = slice(settings.remember)
            self.strategy.remember(q[few], rows[few], generator(settings, 0))

    # -- learning --------------------------------------------------------------------------------

    def moments(self) -> Iterator[Moment]:
        """Learn what is left of the stream; stop asking at any time, and `save`.

        The state folder is held against other writers until then.
        """
        with self.session.store.writing():
            yield from self._moments()

    def _moments(self) -> Iterator[Moment]:
        progress = self.progress
        if not progress.matrix:
            self._evaluate()
        self._begin_experience()
        while progress.experience < len(self.stream.experiences):
            train = self.stream.experiences[progress.experience].train
            whole, before = len(train) * self.settings.passes, progress.position
            size = min(self.settings.batch, whole - before)
            index = self._order(len(train), before, size)
            start = time.perf_counter()
            with self.session.lock.alone:
                self._see(train.take(index))
                progress.position += size
                over = progress.position == whole
                if over:
                    self._flush()
            progress.seconds += time.perf_counter() - start
            at, probed = progress.experience, self._look(before, whole)
            if over:
                progress.experience, progress.position = at + 1, 0
            due = progress.samples - self.saved >= SAVE_EVERY
            if due or over:
                self._finish_if_over()
                self.save()
            if over:
                self._begin_experience()
            yield Moment(at, self.accuracy(500), probed)

    def _begin_experience(self) -> None:
        """Tell the strategy what is to come."""
        at, progress = self.progress.experience, self.progress
        if at < len(self.stream.experiences):
            count = len(self.stream.experiences[at].train)
            self.strategy.begin(count * self.settings.passes - progress.position)

    def _order(self, count: int, start: int, size: int) -> NDArray[np.int64]:
        """In the order of arrival at first, then shuffled."""
        seed = self.settings.seed
        places = np.arange(start, start + size)
        again = shuffled(count, seed, start, size)
        return np.where(places < count, places, again)

    def _see(self, batch: Split) -> None:
        session, progress = self.session, self.progress
        true = self._rows_of(batch)
        q = session.input(batch.x)
        progress.samples += len(true)
        rows = self._mislabelled(true)
        at_once = self._learns_at_once(len(rows))
        scores = self._learn(q, rows) if at_once else session.scores_of_input(q)
        assert scores is not None
        self.right += (scores.argmax(1) == true).astype(int).tolist()
        if at_once:
            return
        wanted = np.ones(len(rows), bool)
        if self.guard is not None:
            wanted &= ~self.guard.hold_back(q, rows, scores.argmax(1) == rows)
        if self.gate is not None:
            wanted &= self.gate.passes(scores, rows)
        self.waiting = np.concatenate([self.waiting, q[wanted]])
        self.waiting_rows = np.concatenate([self.waiting_rows, rows[wanted]])
        if len(self.waiting) < self.settings.batch:
            progress.skipped += 1
            return
        self._step(self.settings.batch)

    def _learns_at_once(self, count: int) -> bool:
        """Whether so many samples need no judging first, for one step gives their scores too."""
        chosen = self.guard is not None or self.gate is not None
        return self.strategy.judges(count) and not chosen and not len(self.waiting)

    def _flush(self) -> None:
        """An experience ends: what still waits is learned."""
        if len(self.waiting):
            self._step(len(self.waiting))
        if self.guard is not None and self.progress.experience + 1 == len(self.stream.experiences):
            self._judge(last=True)
        self.strategy.end()

    def _step(self, size: int) -> None:
        progress = self.progress
        q, rows = self.waiting[:size], self.waiting_rows[:size]
        self.waiting, self.waiting_rows = self.waiting[size:], self.waiting_rows[size:]
        self._learn(q, rows)
        if self.guard is not None and progress.steps % CHECK_EVERY == 0:
            self._judge()

    def _learn(self, q: NDArray[np.int8], rows: NDArray[np.int64]) -> NDArray[np.int32] | None:
        scores = self.strategy.learn(q, rows, generator(self.settings, self.progress.steps))
        self.progress.steps += 1
        return scores

    def _judge(self, last: bool = False) -> None:
        if self.guard is not None and self.guard.judge(last) and self.gate is not None:
            self.gate.refresh()

    def _mislabelled(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Deliberately wrong labels: another class of those that were seen."""
        if not self.settings.wrong:
            return rows
        rng = np.random.default_rng([self.settings.seed, self.progress.samples, 1])
        count = len(self.session.classes)
        other = (rows + rng.integers(1, count, len(rows))) % count
        return np.where(rng.random(len(rows)) < self.settings.wrong, other, rows)

    def _rows_of(self, batch: Split) -> NDArray[np.int64]:
        """Rows of a batch's labels; a class that was never seen gets one, and its first anchors."""
        for label in self.rows.unseen(batch.y):
            add_class(self.session, self.stream.classes[label], batch.x[batch.y == label])
            self.rows = LabelRows(self.session, self.stream)
            if self.guard is not None:
                self.guard.mark()
            if self.gate is not None:
                self.gate.refresh()
        return self.rows.of(batch.y)

    # -- looking ---------------------------------------------------------------------------------

    @property
    def rollbacks(self) -> int:
        """How often a guard took something back."""
        return (self.guard or self.strategy).rollbacks

    @property
    def guard_bytes(self) -> int:
        """That a guard keeps between two steps."""
        if self.guard is not None:
            return size_bytes(self.guard.arrays())
        return self.strategy.guard_bytes

    def accuracy(self, last: int) -> float:
        """Recognised before learning, over the last so many samples."""
        recent = self.right[-last:]
        return sum(recent) / len(recent) if recent else 0.0

    def _look(self, before: int, whole: int) -> bool:
        """Evaluate at an experience's end; probe at its fifths."""
        after = self.progress.position
        if after == whole:
            self._evaluate()
            return True
        if before * PROBES // whole == after * PROBES // whole:
            return False
        some = [self.rows.recognised(e.test, PROBE) for e in self.stream.experiences]
        self.progress.probes.append(Probe(self.progress.samples, some))
        return True

    def _evaluate(self) -> None:
        row = [self.rows.recognised(e.test) for e in self.stream.experiences]
        self.progress.matrix.append(row)
        self.progress.probes.append(Probe(self.progress.samples, row))
        if self.stream.known is not None:
            self.progress.known.append(self.rows.recognised(self.stream.known))

    # -- keeping ---------------------------------------------------------------------------------

    def _finish_if_over(self) -> None:
        if self.progress.experience == len(self.stream.experiences):
            if self.settings.offset or self.settings.pace is not None:
                set_rates(self.session)
            self.progress.finished = True

    def save(self) -> None:
        """Write the checkpoint, then the state: in this order a crash between them is harmless.

        Nothing is written where a guard has yet to judge the state: what was saved before stays.
        """
        progress, session = self.progress, self.session
        with session.lock.alone:
            if not self.strategy.settled:
                return
            stored, tensors = session.stored(), self.tensors()
        progress.before, progress.record = progress.record.samples, stored.record
        checkpoint.save(session.folder, progress, tensors)
        session.store.save(stored)
        self.saved = progress.samples

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All that a checkpoint keeps, by name."""
        parts = {"state": self.session.runner.get_state(), "memory": self.strategy.arrays()}
        if self.guard is not None:
            parts["guard"] = self.guard.arrays()
        if self.gate is not None:
            parts["gate"] = self.gate.arrays()
        parts["waiting"] = {"q": self.waiting, "rows": self.waiting_rows}
        parts["judged"] = {"right": np.array(self.right, np.uint8)}
        return {f"{part}.{n}": value for part, own in parts.items() for n, value in own.items()}

    def _same(self, left: StreamProgress) -> bool:
        """Whether a checkpoint is of this very run, unfinished, with no other learning after it."""
        mine = self.progress
        return (
            not left.finished
            and (left.bundle_sha256, left.settings, left.stream_sha256)
            == (mine.bundle_sha256, mine.settings, mine.stream_sha256)
            and self.session.record.samples in (left.before, left.record.samples)
        )

    def _restore(self, progress: StreamProgress, tensors: dict[str, NDArray[Any]]) -> None:
        session = self.session
        session.runner.set_state(under(tensors, "state"))
        session.record = progress.record
        self.strategy.restore(under(tensors, "memory"))
        if self.guard is not None:
            self.guard.restore(under(tensors, "guard"))
        if self.gate is not None:
            self.gate.restore(under(tensors, "gate"))
        waiting = under(tensors, "waiting")
        self.waiting, self.waiting_rows = waiting["q"], waiting["rows"]
        self.right = tensors["judged.right"].tolist()
        self.progress, self.resumed, self.saved = progress, progress.samples, progress.samples


def _digest(stream: Stream) -> str:
    sha = hashlib.sha256()
    for experience in stream.experiences:
        sha.update(f"{experience.name} {len(experience.train)}\n".encode())
        sha.update(experience.train.x.tobytes())
        sha.update(experience.train.y.tobytes())
    return sha.hexdigest()
