"""What a data set is here: images, labels and class names, in named splits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from dfedge.errors import DfedgeError, unknown_name

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Divided = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Places of the samples to train on, and of those to test on."""
TEST_FRACTION = 0.2


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, H, W, C] and their labels int64 [N]."""

    x: Images
    y: Labels

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.x.dtype != np.uint8 or len(self.x) != len(self.y):
            raise ValueError(
                f"not a split: {self.x.dtype} {self.x.shape} with {len(self.y)} labels"
            )

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: NDArray[np.int64]) -> "Split":
        """The samples at ``index``."""
        return Split(self.x[index], self.y[index])

    def divided(self, seed: int, where: str) -> Divided:
        """A fifth is tested on."""
        return drawn_apart(len(self), seed, where)

    def labelled(self, places: Sequence[int] | None) -> "Split":
        """The same samples, label k being ``places[k]``; None: as they are."""
        return self if places is None else Split(self.x, np.asarray(places, np.int64)[self.y])


@dataclass(frozen=True)
class Dataset:
    """Splits that share their image shape and their class names.

    Attributes:
        name: as given on the command line, a name or a path.
        classes: the name of each label.
        splits: by name; ``all`` stands for data that came in one piece.
    """

    name: str
    classes: tuple[str, ...]
    splits: dict[str, Split]

    def __post_init__(self) -> None:
        for name, split in self.splits.items():
            check_labels(split.y, len(self.classes), f"{self.name}, split {name}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """[H, W, C] of one image."""
        height, width, channels = next(iter(self.splits.values())).x.shape[1:]
        return height, width, channels

    def split(self, *wanted: str) -> tuple[str, Split]:
        """The first of the wanted splits that is there, with its name.

        Raises:
            UsageError: none of them is.
        """
        return first_of(self.name, self.splits, wanted)

    def cut(self, seed: int) -> "Dataset":
        """Data in one piece, cut at random into train and test; any other as it is."""
        return replace(self, splits=cut(self.name, self.splits, seed))


P = TypeVar("P")


def first_of(data: str, parts: dict[str, P], wanted: tuple[str, ...]) -> tuple[str, P]:
    """The first of the wanted splits that is there, with its name.

    Raises:
        UsageError: none of them is.
    """
    for name in wanted:
        if name in parts:
            return name, parts[name]
    raise unknown_name(f"split of {data}", wanted[0], list(parts))


class Divisible(Protocol):
    """What a cut is made of."""

    def __len__(self) -> int: ...

    def take(self, index: NDArray[np.int64]) -> Self:
        """The samples at ``index``."""

    def divided(self, seed: int, where: str) -> Divided:
        """Which samples to train on, and which to test on."""


T = TypeVar("T", bound=Divisible)


def cut(name: str, parts: dict[str, T], seed: int) -> dict[str, T]:
    """Parts with train and test among them, from ``all`` where they are not there yet.

    Raises:
        DfedgeError: one sample.
    """
    if "train" in parts:
        return parts
    train, test = parts["all"].divided(seed, name)
    return parts | {"train": parts["all"].take(train), "test": parts["all"].take(test)}


def drawn_apart(count: int, seed: int, where: str) -> Divided:
    """A fifth of the samples drawn to test on, and the others.

    Raises:
        DfedgeError: one sample.
    """
    held_out = max(1, round(count * TEST_FRACTION))
    if held_out >= count:
        raise DfedgeError(
            f"{where}: {count} sample(s) cannot be cut in train and test; at least two are needed"
        )
    order = np.random.default_rng(seed).permutation(count)
    return order[held_out:], order[:held_out]


def check_labels(y: Labels, classes: int, where: str) -> None:
    """Refuse labels outside ``0..classes-1`` and a split without samples.

    Raises:
        DfedgeError: with the first offending position.
    """
    if not len(y):
        raise DfedgeError(f"{where}: no samples")
    outside = np.flatnonzero((y < 0) | (y >= classes))
    if len(outside):
        first = int(outside[0])
        raise DfedgeError(
            f"{where}: label {int(y[first])} at sample {first}; allowed: 0 to {classes - 1} "
            f"({len(outside)} of {len(y)} labels are out of range)"
        )
