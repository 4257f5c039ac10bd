"""Data before they are read: which samples there are, and of which class.

Images come when they are asked for, at the size that is asked for: a thousand photos need not lie
in memory at 224 x 224 for a hundred of them to be looked at.
"""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Protocol, Self

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from dfedge.data.dataset import Dataset, Divided, Labels, Split, cut, drawn_apart, first_of
from dfedge.data.grouped import Grouped, Groups, taken
from dfedge.data.inputs import InputRule, record_of
from dfedge.data.inputs.image import ImageSurvey, look_at, seen_in
from dfedge.data.stored import StoredSamples, nothing
from dfedge.errors import DfedgeError, UsageError
from dfedge.limits import Hash, Natural
from dfedge.names import places

Places = list[int] | None


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How data in one piece were cut in train and test: the same data are cut so again.

    Attributes:
        samples: of the whole.
        digest: of the whole (`Part.digest`).
    """

    seed: Natural
    samples: Annotated[int, Meta(ge=1)]
    digest: Hash


class SplitPart(Protocol):
    """Samples of a split, in order; ``y``: int64 [N]."""

    @property
    def y(self) -> Labels:
        """Of each sample."""

    def __len__(self) -> int: ...

    def take(self, index: NDArray[np.int64]) -> "SplitPart":
        """The samples at ``index``."""

    def divided(self, seed: int, where: str) -> Divided:
        """Which samples to train on, and which to test on.

        Raises:
            DfedgeError: too few.
        """

    def read(self, rule: InputRule) -> Split:
        """The samples as codes."""

    def digest(self) -> str:
        """SHA-256 of what tells these samples from others."""


def labels_in(data: str, own: tuple[str, ...], classes: tuple[str, ...] | None) -> Places:
    """Which label of a model each of the data's own labels is; None: the same.

    Args:
        classes: the model's; None: the data's own.

    Raises:
        DfedgeError: the model knows fewer classes, and not these by name.
    """
    by_name = places(own, classes) if classes is not None else None
    if by_name is None and classes is not None and len(own) > len(classes):
        raise DfedgeError(f"{data} has {len(own)} classes, the model knows {len(classes)}")
    return by_name


@dataclass(frozen=True)
class Filed(Grouped):
    """Samples in files, one in each; ``where``: the folder that they all lie in."""

    files: tuple[Path, ...]
    y: Labels
    where: str
    groups: Groups = field(default_factory=dict)
    leave_out: str = ""

    def __len__(self) -> int:
        return len(self.files)

    def take(self, index: NDArray[np.int64]) -> Self:
        """See `Part`."""
        files = tuple(self.files[i] for i in index)
        return replace(self, files=files, y=self.y[index], groups=taken(self.groups, index))

    def of(self, who: str) -> Self:
        """See `Grouped`."""
        return replace(self.take(np.flatnonzero(self.owned(who))), leave_out="")

    def divided(self, seed: int, where: str) -> Divided:
        """See `Part`."""
        if self.leave_out:
            return self.without(self.leave_out)
        return drawn_apart(len(self), seed, where)

    def read(self, rule: InputRule) -> Split:
        """See `Part`.

        Raises:
            DfedgeError: a file that cannot be read.
        """
        if not len(self):
            return nothing(rule)
        return Split(np.concatenate([rule.read(file) for file in self.files]), self.y)

    def digest(self) -> str:
        """Of the files' names below the folder, with their classes."""
        lines = [
            f"{file.relative_to(self.where).as_posix()}\t{label}\n"
            for file, label in zip(self.files, self.y, strict=True)
        ]
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Catalogue:
    """Parts that share their class names.

    Attributes:
        name: as given on the command line, a name or a path.
        classes: the name of each label.
        parts: by the split's name; ``all`` stands for data that came in one piece.
        kind: of input, of `dfedge.data.inputs.KINDS`.
        channels: their names; none where the data have none.
    """

    name: str
    classes: tuple[str, ...]
    parts: dict[str, SplitPart]
    kind: str = "image"
    channels: tuple[str, ...] = ()

    def look(self, channels: int | None = None) -> ImageSurvey:
        """Sizes and colours of the images.

        Args:
            channels: of the model that reads them, where there is one.

        Raises:
            DfedgeError: a file that is not a picture.
        """
        whole = self.parts.get("all")
        parts = [whole] if whole is not None else list(self.parts.values())
        files = [file for part in parts if isinstance(part, Filed) for file in part.files]
        if files:
            return look_at(files)
        stored = next(p for p in parts if isinstance(p, StoredSamples))
        return seen_in(stored.x, stored.where, channels)

    def part(self, *wanted: str) -> tuple[str, SplitPart]:
        """The first of the wanted splits that is there, with its name.

        Raises:
            UsageError: none of them is.
        """
        return first_of(self.name, self.parts, wanted)

    def own_rule(self, features: str = "") -> InputRule:
        """The rule that suits the data's training samples.

        Args:
            features: to be computed from them; see `InputRule.featured`.

        Raises:
            UsageError: features that samples of this kind do not have.
            DfedgeError: samples that cannot be read.
        """
        part = self.parts.get("train") or self.part("all")[1]
        record = record_of(self.kind)
        if features:
            record.known(features)
        if isinstance(part, Filed):
            rule = record.of_files(part.files)
            return rule.featured(features) if features else rule
        assert isinstance(part, StoredSamples)
        rule = record.suited(part.x, self.channels)
        return rule.featured(features, part.x) if features else rule

    def read(self, rule: InputRule | None = None) -> Dataset:
        """Everything, by this rule or by its own.

        Raises:
            DfedgeError: samples that cannot be read.
        """
        rule = rule or self.own_rule()
        return Dataset(
            self.name, self.classes, {name: part.read(rule) for name, part in self.parts.items()}
        )

    def cut(self, seed: int) -> "Catalogue":
        """Data in one piece, cut into train and test (`Part.divided`); any other as they are."""
        return replace(self, parts=cut(self.name, self.parts, seed))

    def everybody(self) -> list[str]:
        """Whose the samples are, ``person:1`` and so on, as they first occur."""
        parts = (part for part in self.parts.values() if isinstance(part, Grouped))
        return list(dict.fromkeys(one for part in parts for one in part.everybody()))

    def only(self, who: str, seed: int) -> "Catalogue":
        """Somebody's samples alone, as ``person:3``, in train and test that share none.

        Where both splits hold some they stay as they are cut; else all of them are cut anew
        (`Part.divided`); see `trained_on`.

        Raises:
            UsageError: nobody of that name is there.
            DfedgeError: too few samples to be cut.
        """
        parts = {name: part for name, part in self.parts.items() if isinstance(part, Grouped)}
        if not any(part.groups for part in parts.values()):
            raise UsageError(f"{who}: {self.name} does not say to whom its samples belong")
        has = [name for name, part in parts.items() if part.holds(who)]
        if {"train", "test"} <= set(has):
            return replace(self, parts={name: parts[name].of(who) for name in ("train", "test")})
        whole = parts.get("all") or next((parts[name] for name in has), next(iter(parts.values())))
        return replace(self, parts=cut(self.name, {"all": whole.of(who)}, seed))

    def trained_on(self, who: str) -> bool:
        """Whether all of somebody's samples are in the train split, so that `only` cuts it."""
        held = {
            name: isinstance(part, Grouped) and part.holds(who) for name, part in self.parts.items()
        }
        return held.get("train", False) and not held.get("test", False)

    def record(self, seed: int) -> Cut | None:
        """How `cut` cuts them; None: they are not in one piece."""
        if "train" in self.parts:
            return None
        whole = self.parts["all"]
        return Cut(seed, len(whole), whole.digest())
