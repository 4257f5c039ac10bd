"""The two calls that an application makes: ``session.predict(x)`` and ``session.learn(x, label)``.

session = Session.open("bundle")
answer = session.predict(image)            # uint8 [H, W, C], or [H, W]
session.learn(image, "cat")                # or the class's number
session.save()
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.data.dataset import Images, Labels
from dfedge.data.image import to_input
from dfedge.device import store
from dfedge.device.runners import Runner, choose_runtime, open_runner
from dfedge.errors import DfedgeError, UsageError, unknown_name
from dfedge.state import digest

RATES = ("weight_shift", "bias_shift", "anchor_shift", "pace")
"""The state that steers how fast each layer learns: one more is half as fast."""


@dataclass(frozen=True)
class Prediction:
    """The nearest class of one input.

    Attributes:
        label: number of the class.
        name: its name.
        score: integer nearness, larger is nearer; comparable between classes of one input.
        margin: lead over the runner-up; near 0 is a guess.
    """

    label: int
    name: str
    score: int
    margin: int


@dataclass(frozen=True)
class Lesson:
    """What one call of learning saw: scores [B, K] before it, and active samples per layer."""

    scores: NDArray[np.int32]
    active: NDArray[np.int64]


class Session:
    """A bundle open in one runtime, at its learned state.

    Attributes:
        bundle, runner, runtime: what is open, and where.
        folder, record: of the state.
        rates: update shifts that `dfedge.device.finetune` starts from, int32 [L] each; at first the
            bundle's.
    """

    def __init__(
        self, bundle: Bundle, runner: Runner, runtime: str, folder: Path, record: store.Record
    ) -> None:
        self.bundle, self.runner, self.runtime = bundle, runner, runtime
        self.folder, self.record = folder, record
        initial = bundle.initial_state()
        self.rates = {name: initial[name] for name in RATES if name in initial}

    @staticmethod
    def open(
        bundle: str | Path | Bundle,
        runtime: str | None = None,
        state: str | Path | None = None,
        initial: bool = False,
    ) -> "Session":
        """Open a bundle.

        Args:
            runtime: ``onnx``, ``executorch`` or ``litert``; None takes the first that is installed.
            state: the state folder; None means beside the bundle.
            initial: start from the bundle's own state, whatever the folder holds.

        Raises:
            UsageError, DfedgeError: a bundle, runtime or state that cannot be used.
        """
        if not isinstance(bundle, Bundle):
            bundle = Bundle.open(Path(bundle))
        folder = Path(state) if state is not None else store.default_folder(bundle)
        stored = None if initial else store.load(folder, bundle)
        runtime = runtime or choose_runtime(bundle)
        runner = open_runner(bundle, runtime)
        record = store.Record(bundle.sha256)
        if stored is not None:
            runner.set_state(stored.state)
            record = stored.record
        return Session(bundle, runner, runtime, folder, record)

    @property
    def state_name(self) -> str:
        """Which state this session started from, in words."""
        if not self.record.samples:
            return "the bundle's own"
        return f"{self.folder} ({self.record.samples:,} presentations learned)"

    def predict(self, x: NDArray[Any]) -> Prediction:
        """The nearest class of one image, uint8 [H, W, C] or [H, W]."""
        return self.name(self.scores(self._one(x))[0])

    def name(self, scores: NDArray[np.int32]) -> Prediction:
        """Read one row of scores [K]."""
        order = np.argsort(-scores.astype(np.int64), kind="stable")
        label = int(order[0])
        margin = int(scores[order[0]]) - int(scores[order[1]]) if len(order) > 1 else 0
        return Prediction(label, self.bundle.manifest.classes[label], int(scores[label]), margin)

    def learn(self, x: NDArray[Any], label: int | str) -> Lesson:
        """Learn one image, uint8 [H, W, C] or [H, W], with its class's number or name.

        Raises:
            UsageError: no such class.
        """
        number = self.label(label)
        return self.learn_batch(self._one(x), np.array([number], np.int64))

    def label(self, label: int | str) -> int:
        """A class's number.

        Raises:
            UsageError: no such class.
        """
        classes = self.bundle.manifest.classes
        if isinstance(label, str):
            if label not in classes:
                raise unknown_name("class", label, list(classes))
            return classes.index(label)
        if not 0 <= label < len(classes):
            raise UsageError(f"label {label}: allowed: 0 to {len(classes) - 1}")
        return int(label)

    def learn_batch(self, x: NDArray[Any], y: Labels) -> Lesson:
        """Learn images [B, H, W] or [B, H, W, C] with their classes' numbers [B].

        One step where a program of B exists, else several.

        Raises:
            DfedgeError: images or labels that cannot be used; nothing was learned then.
        """
        scores, active = [], np.zeros(len(self.bundle.manifest.plan.layers), np.int64)
        q, labels = self._input(x), self._labels(y, len(x))
        for part in self._parts("train", len(x)):
            seen, moved = self.runner.train(q[part], labels[part])
            scores.append(seen)
            active += moved
        self._count(len(x))
        return Lesson(np.concatenate(scores), active)

    def scores(self, x: NDArray[Any]) -> NDArray[np.int32]:
        """Scores [B, K] of images [B, H, W] or [B, H, W, C].

        Raises:
            DfedgeError: images that cannot be used.
        """
        q = self._input(x)
        return np.concatenate([self.runner.infer(q[part]) for part in self._parts("infer", len(x))])

    def features(self, x: NDArray[Any]) -> Iterator[tuple[slice, list[NDArray[np.int8]]]]:
        """What each layer's anchors see, int8 [B, d] a layer: for one part of the images at a time.

        Raises:
            DfedgeError: images that cannot be used.
        """
        q = self._input(x)
        for part in self._parts("features", len(x)):
            yield part, self.runner.features(q[part])[:-1]

    def digest(self) -> str:
        """SHA-256 of the state as it is now."""
        return digest(self.runner.get_state())

    def save(self) -> None:
        """Write what was learned to the state folder."""
        store.save(self.folder, store.Stored(self.runner.get_state(), self.record))

    def _count(self, samples: int) -> None:
        old = self.record
        self.record = store.Record(old.bundle_sha256, old.samples + samples, old.job)

    def _one(self, x: NDArray[Any]) -> Images:
        rule = self.bundle.manifest.image
        return rule.apply(np.asarray(x)[None], "the image")

    def _input(self, x: NDArray[Any]) -> NDArray[np.int8]:
        return to_input(self.bundle.manifest.image.apply(np.asarray(x), "the images"))

    def _labels(self, y: Labels, count: int) -> NDArray[np.int32]:
        y, classes = np.asarray(y), len(self.bundle.manifest.classes)
        if y.shape != (count,) or not np.issubdtype(y.dtype, np.integer):
            raise DfedgeError(
                f"the labels: {y.dtype} {list(y.shape)}; allowed: an integer for each of the "
                f"{count} images"
            )
        if y.min() < 0 or y.max() >= classes:
            raise DfedgeError(
                f"the labels reach from {y.min()} to {y.max()}; allowed: 0 to {classes - 1}"
            )
        return y.astype(np.int32)

    def _parts(self, kind: str, count: int) -> Iterator[slice]:
        """Cut ``count`` samples into the batch sizes that the bundle has, largest first."""
        start = 0
        for batch in self.bundle.manifest.batches(kind):
            while count - start >= batch:
                yield slice(start, start + batch)
                start += batch
