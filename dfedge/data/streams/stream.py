"""What a stream is, and what it is made from."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from dfedge.data.dataset import Dataset, Split
from dfedge.data.inputs import InputRule
from dfedge.data.reading import AS_THEY_ARE, Reading
from dfedge.data.sources import open_data
from dfedge.errors import DfedgeError


@dataclass(frozen=True)
class Experience:
    """Samples in the order of their arrival, and test samples of the same kind.

    Raises:
        DfedgeError: one of them is empty.
    """

    name: str
    train: Split
    test: Split

    def __post_init__(self) -> None:
        for part, split in (("train", self.train), ("test", self.test)):
            if not len(split):
                raise DfedgeError(
                    f"experience '{self.name}' has no {part} samples; leave it out, or give it some"
                )


@dataclass(frozen=True)
class Stream:
    """Experiences in their order.

    Attributes:
        classes: the name of each label.
        known: test samples of what a model is thought to know before; nothing is learned from
            them, they show what is forgotten.
        past: training samples of the same, with which a replay memory may leave the host filled.
        fresh: whether the stream's classes stand in the place of those that the model knows.
    """

    classes: tuple[str, ...]
    experiences: tuple[Experience, ...]
    known: Split | None = None
    past: Split | None = None
    fresh: bool = False

    def __post_init__(self) -> None:
        if not self.experiences:
            raise DfedgeError("the stream has no experiences")

    @property
    def samples(self) -> int:
        """Of all experiences together."""
        return sum(len(e.train) for e in self.experiences)


@dataclass(frozen=True)
class Source:
    """Where a stream takes its samples from: a data set, brought to a model's shape."""

    data: str
    data_dir: Path | None = None
    rule: InputRule | None = None
    reading: Reading = AS_THEY_ARE

    def load(self, seed: int) -> Dataset:
        """The data, with a train and a test split.

        Raises:
            UsageError, DfedgeError: as `dfedge.data.sources.load`.
        """
        found = open_data(self.data, self.data_dir, reading=self.reading)
        return found.cut(seed).read(self.rule)


class StreamKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named kind of stream with its settings."""

    def make(self, source: Source, seed: int) -> Stream:
        """The stream: a function of the data, the settings and the seed.

        Raises:
            UsageError, DfedgeError: data that do not suit it.
        """
        raise NotImplementedError


def drawn(split: Split, count: int, seed: int, at: int = 0) -> Split:
    """Up to ``count`` samples (0: all) in an order drawn from the seed, after the first ``at``."""
    order = np.random.default_rng(seed).permutation(len(split))
    return split.take(order[at : at + count] if count else order[at:])
