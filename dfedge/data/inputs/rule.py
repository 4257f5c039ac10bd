"""What every kind of input has in common: a rule, kept in the bundle, applied on every device.

A rule brings a sample, as it comes from a camera, a sensor or a file, to *codes*: uint8 [H, W, C].
A program is fed half of a code (`to_input`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dfedge.data.change import Changed, columns
from dfedge.data.dataset import Images
from dfedge.data.shift_forms import ShiftForm
from dfedge.errors import UsageError, chosen

DEFAULT_NET = "mnist"
"""Of data that ask for no other."""


@dataclass(frozen=True)
class InC:
    """How a C program makes a sample into what a net takes, ``net_input``.

    Only numbers of a rule stand in it, and none of its words: it is compiled.

    Attributes:
        includes: headers of the kernels.
        says: a comment.
        prototype: of the function.
        tables: that its body reads.
        body: its statements.
    """

    includes: tuple[str, ...]
    says: str
    prototype: str
    tables: str
    body: str


Shift = Callable[[Images], Images]
"""On codes [N, H, W, C]."""


class Units(NamedTuple):
    """What codes stand for, in the samples' own units: ``low + step code``, float64 [C] each."""

    low: NDArray[np.float64]
    step: NDArray[np.float64]


class InputRule:
    """How samples of one kind are read; a frozen msgspec struct with the tag field ``kind``.

    Attributes:
        sample, samples: what one and several are called in messages.
        suffixes: of files that hold one sample each, in small letters.
        shifts: how `shift` is written, by name.
        drift: which of them, with their numbers apart by ``:``, stand for a change that a device
            meets where no other is named, in a stream `drift`.
        known_features: what a net may ask for to be computed from samples, in words.
        owner: what a folder within a class's folder says of its files, as ``speaker``; empty: files
            there are not looked at.
    """

    sample: ClassVar[str] = "a sample"
    samples: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    shifts: ClassVar[Mapping[str, ShiftForm]] = {}
    drift: ClassVar[Mapping[str, str]] = {}
    known_features: ClassVar[tuple[str, ...]] = ()
    owner: ClassVar[str] = ""

    @property
    def proposed(self) -> str:
        """A change of the samples that a command may propose, as ``--shift`` takes it."""
        return "+".join(f"{name}:{numbers}" for name, numbers in self.drift.items())

    @property
    def shape(self) -> tuple[int, int, int]:
        """[H, W, C] of what a program is fed."""
        raise NotImplementedError

    @property
    def net(self) -> str:
        """The net that `train` takes for such data by path."""
        return DEFAULT_NET

    @classmethod
    def known(cls, word: str) -> Any:
        """The same word.

        Raises:
            UsageError: it is none of `known_features`.
        """
        if not cls.known_features:
            raise UsageError(f"features '{word}': of {cls.samples} there are none; leave them out")
        return chosen(f"features of {cls.samples}", word, cls.known_features)

    def featured(self, word: str, x: NDArray[Any] | None = None) -> Self:
        """The rule that computes such features of the same samples.

        Args:
            word: of `known_features`.
            x: training samples [N, ...] where they lie in memory, that ranges are read off.

        Raises:
            UsageError: another word.
            DfedgeError: samples that have no such features.
        """
        self.known(word)
        raise NotImplementedError

    def sized(self, shape: Sequence[int | None], x: NDArray[Any] | None = None) -> Self:
        """The rule of the same samples that has this shape [H, W, C], where one has; else the same.

        Args:
            shape: None where a side is open.
            x: training samples [N, ...] where they lie in memory.
        """
        return self

    def apply(self, x: NDArray[Any], where: str) -> Images:
        """Samples [N, ...] as codes uint8 [N, H, W, C]; codes of this shape pass as they are.

        Args:
            where: begins an error's text.

        Raises:
            DfedgeError: samples that cannot be used, with what is allowed.
        """
        raise NotImplementedError

    @classmethod
    def checked(cls, x: NDArray[Any], where: str) -> NDArray[Any]:
        """Samples that came in an array, their axes and type checked: [N, ...].

        Raises:
            DfedgeError: with what was found and what is allowed.
        """
        raise NotImplementedError

    @classmethod
    def suited(cls, x: NDArray[Any], names: Sequence[str] = ()) -> "InputRule":
        """The rule that suits training samples [N, ...] that lie in memory.

        Args:
            names: of the channels.

        Raises:
            DfedgeError: samples that no program takes.
        """
        raise NotImplementedError

    @classmethod
    def of_files(cls, files: Sequence[Path]) -> "InputRule":
        """The rule that suits training samples in files of `suffixes`, one in each.

        Raises:
            DfedgeError: a file that cannot be read.
        """
        raise NotImplementedError

    @classmethod
    def try_file(cls, path: Path) -> None:
        """Read a file of `suffixes` to see whether it can be read.

        Raises:
            DfedgeError: it cannot.
        """
        raise NotImplementedError

    def read(self, path: Path) -> Images:
        """The samples of one file, codes [N, H, W, C].

        Raises:
            DfedgeError: a file of another kind, or one that cannot be read.
        """
        raise NotImplementedError

    @classmethod
    def unusable(cls, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the samples [N, ...] hold a value that no sample of this kind has: bool [N]."""
        raise NotImplementedError

    def units(self, x: NDArray[Any]) -> Units | None:
        """What codes stand for; None: codes are what samples of this kind are.

        Args:
            x: training samples [N, ...], for channels whose codes say nothing.
        """
        return None

    def in_c(self) -> InC | None:
        """The same rule for a C program; None: its author writes it."""
        return None

    def shift(self, name: str, numbers: list[float]) -> Shift:
        """A shift of such samples, one of `shifts`, with as many numbers.

        Raises:
            UsageError: it does not suit these samples.
        """
        raise NotImplementedError

    def changed(self, x: Images, like: Images, seed: int = 0) -> Changed:
        """A mild change of a kind that devices meet: what learning is tried on at export.

        Args:
            x: codes [N, H, W, C].
            like: others, that ranges are read off.
            seed: of noise.
        """
        return columns(x, like, seed)


def to_input(x: Images) -> NDArray[np.int8]:
    """What the integer programs are fed: int8 0..127, standing for value / 2^7."""
    return (x >> 1).astype(np.int8)
