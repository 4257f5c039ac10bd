"""What a session answers: of images, in the state of that moment."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.data.dataset import Images
from dfedge.data.door import as_array
from dfedge.data.inputs import to_input
from dfedge.device.answers import Prediction, nearest
from dfedge.device.batches import class_number, parts
from dfedge.device.lock import SharedLock
from dfedge.device.runners import Runner
from dfedge.device.store import StateRecord


class Answering:
    """A bundle open in one runtime; nothing here changes its state.

    Attributes:
        bundle, runner: what is open.
        record: of the state, with the classes that were added.
        lock: whoever changes the state holds it alone.
    """

    bundle: Bundle
    runner: Runner
    record: StateRecord
    lock: SharedLock

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the rows: the bundle's classes, then those that were added here."""
        manifest = self.bundle.manifest
        return (manifest.classes + self.record.added)[: manifest.plan.classes]

    def predict(self, x: NDArray[Any]) -> Prediction:
        """The nearest class of one image, uint8 [H, W, C] or [H, W]."""
        q = self.input(self._one(x))
        with self.lock.shared:
            return self.name(self.scores_of_input(q)[0])

    def name(self, scores: NDArray[np.int32]) -> Prediction:
        """Read one row of scores [K]."""
        return nearest(scores, self.classes, self.bundle.manifest.temperature)

    def label(self, label: int | str) -> int:
        """A class's number.

        Raises:
            UsageError: no class of this number or name; True and 3.0 are no class's number.
        """
        return class_number(label, self.classes)

    def scores(self, x: NDArray[Any]) -> NDArray[np.int32]:
        """Scores [B, K] of images [B, H, W] or [B, H, W, C].

        Raises:
            DfedgeError: images that cannot be used.
        """
        return self.scores_of_input(self.input(x))

    def scores_of_input(self, q: NDArray[np.int8]) -> NDArray[np.int32]:
        """Scores [B, K] of what `input` made of images."""
        with self.lock.shared:
            found = [self.runner.infer(q[part]) for part in self._parts("infer", len(q))]
        return np.concatenate(found)

    def features(self, x: NDArray[Any]) -> Iterator[tuple[slice, list[NDArray[np.int8]]]]:
        """What each layer's anchors see, int8 [B, d] a layer: for one part of the images at a time.

        Each part is seen in the state of its moment; ``with session.lock.alone:`` all in one.

        Raises:
            DfedgeError: images that cannot be used.
        """
        for part, seen, _ in self.seen(self.input(x)):
            yield part, seen

    def seen(
        self, q: NDArray[np.int8]
    ) -> Iterator[tuple[slice, list[NDArray[np.int8]], NDArray[np.int8]]]:
        """As `features`, of inputs; and their latents, which `learn_latents` takes."""
        for part in self._parts("features", len(q)):
            with self.lock.shared:
                *seen, latents = self.runner.features(q[part])
            yield part, seen, latents

    def latents(self, q: NDArray[np.int8]) -> NDArray[np.int8]:
        """What `learn_latents` takes, of inputs q int8 [B, H, W, C]: int8 [B, *latent_shape]."""
        if not self.bundle.manifest.plan.frozen:
            return q
        with self.lock.shared:
            return np.concatenate([latents for _, _, latents in self.seen(q)])

    def _one(self, x: NDArray[Any]) -> Images:
        rule = self.bundle.manifest.input
        return rule.apply(as_array(x, rule.samples)[None], rule.samples)

    def input(self, x: NDArray[Any]) -> NDArray[np.int8]:
        """What the programs take, int8 [B, H, W, C], of images [B, H, W] or [B, H, W, C].

        Raises:
            DfedgeError: images that cannot be used.
        """
        rule = self.bundle.manifest.input
        return to_input(rule.apply(as_array(x, rule.samples), rule.samples))

    def _parts(self, kind: str, count: int) -> Iterator[slice]:
        """Of ``count`` samples, in the batch sizes that the bundle has."""
        where = f"{self.bundle.folder}: its programs for {kind}"
        return parts(self.bundle.manifest.batches(kind), count, where)
