"""The two calls that an application makes: ``session.predict(x)`` and ``session.learn(x, label)``.

session = Session.open("bundle")
answer = session.predict(image)            # uint8 [H, W, C], or [H, W]
session.learn(image, "cat")                # or the class's number
session.save()
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.data.dataset import Labels
from dfedge.data.door import Policy, SampleFilter
from dfedge.device import store
from dfedge.device.answering import Answering
from dfedge.device.answers import Prediction, StepResult
from dfedge.device.batches import checked_labels
from dfedge.device.care import NO_CARE, Care
from dfedge.device.keeper import Keeper
from dfedge.device.known import guarded_rates
from dfedge.device.latents import with_latents
from dfedge.device.lock import SharedLock, alone
from dfedge.device.rates import RATES, set_rates
from dfedge.device.rebase import rebased
from dfedge.device.runners import Runner, open_best
from dfedge.errors import DfedgeError, ResourceError
from dfedge.runtimes import runtime as record_of
from dfedge.state import digest, size_bytes

__all__ = ["Prediction", "Session", "StepResult"]


class Session(Answering):
    """A bundle open in one runtime, at its learned state.

    Any number of threads may call one session.  What changes it (learning, judging, a class that is
    added) runs alone; what reads it sees the state before or after such a call, never between.  In
    the runtimes of `dfedge.runtimes.Runtime.side_by_side` predictions run beside each other, in the
    others one after the other.  Threads have their turns in the order in which they called.  A
    forked child has a session of its own, at the state of that moment; of parent and child the
    first that saves is the one that can.

    Attributes:
        bundle, runner, runtime: what is open, and where.
        store, record: of the state.
        lock: ``with session.lock.alone:`` makes several calls one; so whoever calls `runner` or
            sets `record` must.
        state_bytes: its size, which learning does not change.
        notes: what had to be skipped to open it.
        remembered: samples of classes that were added here, which are replayed like the bundle's.
        care: what keeps `learn` and `learn_batch` from doing harm.
        rates: update shifts that learning starts from, int32 [L] each; at first the bundle's, under
            a guard those of `dfedge.device.known.guarded_rates`.
    """

    def __init__(
        self,
        bundle: Bundle,
        runner: Runner,
        runtime: str,
        kept: store.Store,
        record: store.StateRecord,
        on_bad_sample: Policy = "stop",
        care: Care | None = None,
    ) -> None:
        self.bundle, self.runner, self.runtime = bundle, runner, runtime
        self.store, self.record = kept, record
        self.door = SampleFilter(on_bad_sample)
        self.notes: tuple[str, ...] = ()
        self.broken = False
        self.lock = SharedLock(side_by_side=record_of(runtime).side_by_side)
        initial = bundle.initial_state()
        self.state_bytes = size_bytes(initial)
        self.care = care or Care()
        self.remembered = store.nothing(bundle)
        self._keeper: Keeper | None = None
        self.rates = {name: initial[name] for name in RATES if name in initial}
        if self.care.guard:
            self.rates |= guarded_rates(bundle, self.care.replace)

    @staticmethod
    def open(
        bundle: str | Path | Bundle,
        runtime: str | None = None,
        state: str | Path | None = None,
        initial: bool = False,
        read_only: bool = False,
        require_signature: str | Path | None = None,
        on_bad_sample: Policy = "stop",
        care: Care | None = None,
        min_version: int | None = None,
        rebase: bool = False,
        threads: int = 1,
    ) -> "Session":
        """Open a bundle.

        Args:
            runtime: ``onnx``, ``executorch`` or ``litert``; None takes the first that is installed.
                The native rendering is taken where it can be used; see
                `dfedge.device.runners.open_best`.
            state: the state folder; None means beside the bundle.
            initial: start from the bundle's own state, whatever the folder holds.
            read_only: nothing will be saved: the folder is not touched.
            require_signature: a public key (PEM); a bundle that it did not sign is refused; None:
                as `Bundle.open`.
            on_bad_sample: ``stop`` raises at a sample that cannot be learned, ``skip`` passes over
                it and counts it in ``session.door.skipped``.
            care: replay and guard; None: both (`dfedge.device.care.Care`).
            min_version: a bundle of a lower version is refused; None: as `Bundle.open`.
            rebase: carry over a state of another bundle of the same lineage, which the folder may
                hold after an update (`dfedge.device.rebase`).  The next save writes it; what was
                learned before stays in the other slot until the save after that.
            threads: that the runtime computes with; the bits are the same.

        Raises:
            UsageError, DfedgeError: a bundle, runtime or state that cannot be used.
        """
        if not isinstance(bundle, Bundle):
            bundle = Bundle.open(Path(bundle), require_signature, min_version)
        else:
            if require_signature is not None:
                bundle.check_signature(require_signature)
            if min_version is not None:
                bundle.check_version(min_version)
        folder = Path(state) if state is not None else store.default_folder(bundle)
        kept = store.Store(folder, read_only)
        stored = kept.load(bundle, use=not initial, foreign=rebase)
        opened = open_best(bundle, runtime, threads)
        runner, notes = with_latents(opened.runner, bundle), opened.notes
        if stored is not None and stored.record.bundle_sha256 != bundle.sha256:
            moved = rebased(stored, bundle, runner, folder)
            stored, notes = moved.stored, (*notes, moved.told(folder, bundle))
        record = store.belonging(bundle)
        if stored is not None:
            runner.set_state(stored.state)
            record = stored.record
        session = Session(bundle, runner, opened.name, kept, record, on_bad_sample, care)
        session.notes = notes
        if stored is not None and stored.remembered is not None:
            session.remembered = stored.remembered
        if record.guarded and not session.care.guard:
            set_rates(session)
        return session

    @property
    def folder(self) -> Path:
        """Of the state."""
        return self.store.folder

    @property
    def state_name(self) -> str:
        """Which state this session started from, in words."""
        if not self.record.samples:
            return "the bundle's own"
        return f"{self.folder} ({self.record.samples:,} presentations learned)"

    @alone
    def learn(self, x: NDArray[Any], label: int | str) -> StepResult:
        """Learn one image, uint8 [H, W, C] or [H, W], with its class's number or name.

        Raises:
            UsageError: no such class.
        """
        try:
            number, image = self.label(label), self._one(x)
        except DfedgeError as error:
            self.door.refuse(error, "sample")
            return self._no_lesson()
        return self.learn_batch(image, np.array([number], np.int64))

    @alone
    def learn_batch(self, x: NDArray[Any], y: Labels, presented: int = 0) -> StepResult:
        """Learn images [B, H, W] or [B, H, W, C] with their classes' numbers [B].

        One step where a program of B exists, else several.  What the session's care replays is
        learned among them, and its guard may take back what made the model worse
        (`dfedge.device.care`); the lesson's scores are of the given images alone.

        Args:
            presented: fill up to so many samples with replayed ones; 0: one for each.

        Raises:
            DfedgeError: images or labels that cannot be used; nothing was learned then.
        """
        rule = self.bundle.manifest.input
        x, y = self.door.sift(x, y, len(self.classes), rule.samples, rule.unusable)
        if not y.size and self.door.skipped:
            return self._no_lesson()
        q = self.input(x)
        if self.care == NO_CARE:
            return self.learn_input(q, y)
        return self.learn_with_care(q, y, presented)

    @alone
    def replay(self, count: int) -> StepResult:
        """Learn samples that the bundle brings, as `learn_batch` does, with no new ones among them.

        The lesson has no scores.
        """
        shape = self.bundle.manifest.plan.input_shape
        return self._with_care(np.zeros((0, *shape), np.int8), np.zeros(0, np.int64), count)

    @alone
    def learn_with_care(self, q: NDArray[np.int8], y: Labels, presented: int = 0) -> StepResult:
        """As `learn_batch`, from what `input` made of images."""
        return self._with_care(q, self._labels(y, len(q)).astype(np.int64), presented)

    def _with_care(self, q: NDArray[np.int8], labels: Labels, presented: int) -> StepResult:
        mixed, rows = self.keeper.mixed(q, labels, presented)
        self.keeper.before_step(len(rows))
        lesson, old = self._learn("train", mixed, rows.astype(np.int32), len(q))
        self.keeper.after_step(q, labels, len(rows), old, rows[len(q) :])
        return lesson

    @property
    @alone
    def keeper(self) -> Keeper:
        """Replay and guard of this session, from its first use on."""
        if self._keeper is None:
            self._keeper = Keeper(self, self.care)
        return self._keeper

    @alone
    def learn_input(self, q: NDArray[np.int8], y: Labels) -> StepResult:
        """As `learn_batch`, from what `input` made of images; without care."""
        return self._learn("train", q, self._labels(y, len(q)))[0]

    @alone
    def learn_latents(self, z: NDArray[np.int8], y: Labels) -> StepResult:
        """As `learn_batch`, from latents [B, *plan.latent_shape] on; frozen layers do not run.

        The scores are those of the learning layers.  Where nothing is frozen a latent is the input.

        Raises:
            DfedgeError: labels that cannot be used; nothing was learned then.
        """
        kind = "train_from" if self.bundle.manifest.plan.frozen else "train"
        return self._learn(kind, z, self._labels(y, len(z)))[0]

    def _learn(
        self,
        kind: str,
        given: NDArray[np.int8],
        labels: NDArray[np.int32],
        new: int | None = None,
    ) -> tuple[StepResult, NDArray[np.int32]]:
        """Learn; the first ``new`` are told of, the others are replayed; None: all are new.

        Returns:
            What is told of the new, and the scores of the others.
        """
        new = len(given) if new is None else new
        scores, active = [], np.zeros(len(self.bundle.manifest.plan.layers), np.int64)
        steps, call = 0, getattr(self.runner, kind)
        for part in self._parts(kind, len(given)):
            with self._whole_or_broken():
                seen, moved = call(given[part], labels[part])
            scores.append(seen)
            active += moved
            steps += 1
        self._count(len(given), len(given) - new, steps)
        every = np.concatenate(scores)
        return StepResult(every[:new], active), every[new:]

    def digest(self) -> str:
        """SHA-256 of the state as it is now."""
        with self.lock.shared:
            state = self.runner.get_state()
        return digest(state)

    def save(self) -> None:
        """Write what was learned to the state folder, once the guard has judged it.

        While the medium is written to, other threads may go on; what they learn meanwhile is not in
        it.

        Raises:
            ResourceError: it cannot be written, or a step failed half-way; what was saved is safe.
        """
        self.store.save(self._judged())

    @alone
    def settle(self) -> None:
        """End the guard's period, before something else writes the state.

        What is written then belongs to the state that the guard goes back to.
        """
        self._end_period()
        self._keeper = None

    @alone
    def _judged(self) -> store.StoredState:
        self._end_period()
        return self.stored()

    def _end_period(self) -> None:
        if self._keeper is not None and not self.broken:
            self._keeper.judge()

    def stored(self) -> store.StoredState:
        """A copy of what was learned, as the store takes it.

        Raises:
            ResourceError: a step failed half-way.
        """
        with self.lock.shared:
            if self.broken:
                raise ResourceError(
                    f"a step failed half-way in {self.runtime}, so its state is not saved; open "
                    f"{self.folder} again"
                )
            return store.StoredState(
                self.runner.get_state(), self.record, next(store.moments), self.remembered
            )

    def _no_lesson(self) -> StepResult:
        plan = self.bundle.manifest.plan
        return StepResult(
            np.empty((0, plan.classes), np.int32), np.zeros(len(plan.layers), np.int64)
        )

    @contextmanager
    def _whole_or_broken(self) -> Iterator[None]:
        """A step that fails, for want of memory most of all, leaves a state not to be kept."""
        try:
            yield
        except Exception as error:  # every runtime raises classes of its own
            self.broken = True
            text = " ".join(f"{type(error).__name__} {error}".split())[-160:]
            raise ResourceError(
                f"{self.runtime} failed in a training step ({text}); what was saved in "
                f"{self.folder} is as it was; free memory and repeat the command"
            ) from error

    def _count(self, samples: int, replayed: int, steps: int) -> None:
        old = self.record
        self.record = msgspec.structs.replace(
            old,
            samples=old.samples + samples,
            replayed=old.replayed + replayed,
            steps=old.steps + steps,
        )

    def _labels(self, y: Labels, count: int) -> NDArray[np.int32]:
        return checked_labels(y, count, len(self.classes))
