"""What a stream is, and what it is made from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from dfedge.data.catalogue import Catalogue, Cut
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
class StreamSource:
    """Where a stream takes its samples from: a data set, brought to a model's shape.

    Attributes:
        rule, reading, cut: of the model; None, or nothing: the data's own.
    """

    data: str
    data_dir: Path | None = None
    rule: InputRule | None = None
    reading: Reading = AS_THEY_ARE
    cut: Cut | None = None

    def open(self) -> Catalogue:
        """Which samples there are.

        Raises:
            UsageError, DfedgeError: as `dfedge.data.sources.open_data`.
        """
        return open_data(self.data, self.data_dir, reading=self.reading)

    def seed_of(self, found: Catalogue, seed: int) -> int:
        """By which the data are cut: those that the model was trained on are cut as they were."""
        cut = self.cut
        return cut.seed if cut is not None and found.record(cut.seed) == cut else seed

    def load(self, seed: int) -> Dataset:
        """The data, with a train and a test split.

        Raises:
            UsageError, DfedgeError: as `dfedge.data.sources.load`.
        """
        return self.loaded(seed)[0]

    def loaded(self, seed: int) -> tuple[Dataset, InputRule]:
        """As `load`, with the rule by which they were read: the model's, else their own."""
        found = self.open()
        found = found.cut(self.seed_of(found, seed))
        rule = self.rule or found.own_rule()
        return found.read(rule), rule


class StreamKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named kind of stream with its settings."""

    @classmethod
    def read(cls, given: dict[str, str]) -> Self:
        """Of settings as they are written.

        Raises:
            UsageError: one that does not exist.
            msgspec.ValidationError: one that does not exist, or is out of its range.
        """
        return msgspec.convert(given, cls, strict=False)

    def make(self, source: StreamSource, seed: int) -> Stream:
        """The stream: a function of the data, the settings and the seed.

        Raises:
            UsageError, DfedgeError: data that do not suit it.
        """
        raise NotImplementedError


def drawn(split: Split, count: int, seed: int, at: int = 0) -> Split:
    """Up to ``count`` samples (0: all) in an order drawn from the seed, after the first ``at``."""
    order = np.random.default_rng(seed).permutation(len(split))
    return split.take(order[at : at + count] if count else order[at:])
