"""Class-incremental: new classes in every experience, and no word at test time of which."""

from typing import Annotated

import numpy as np
from msgspec import Meta

from dfedge.data.dataset import Split
from dfedge.data.streams.stream import Experience, Stream, StreamKind, StreamSource, drawn


class ClassIncremental(StreamKind, frozen=True):
    """A data set's classes in their order, a few at a time: split MNIST and its like.

    Attributes:
        each: classes of one experience.
        samples: of one experience; 0: all.
        test: test samples of one experience; 0: all.
        fresh: whether they replace the classes that the model was trained on.
    """

    each: Annotated[int, Meta(ge=1)] = 2
    samples: Annotated[int, Meta(ge=0)] = 0
    test: Annotated[int, Meta(ge=0)] = 0
    fresh: bool = True

    def make(self, source: StreamSource, seed: int) -> Stream:
        """See `StreamKind.make`."""
        data = source.load(seed)
        _, train = data.split("train")
        _, test = data.split("test")
        count = len(data.classes)
        found = []
        for first in range(0, count, self.each):
            labels = np.arange(first, min(first + self.each, count))
            found.append(
                Experience(
                    ", ".join(data.classes[k] for k in labels),
                    drawn(_only(train, labels), self.samples, seed),
                    drawn(_only(test, labels), self.test, seed),
                )
            )
        return Stream(data.classes, tuple(found), fresh=self.fresh)


def _only(split: Split, labels: np.ndarray) -> Split:
    return split.take(np.flatnonzero(np.isin(split.y, labels)))
