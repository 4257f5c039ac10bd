"""The Free Spoken Digit Dataset: 3,000 recordings DIGIT_SPEAKER_TAKE.wav at 8 kHz.

Its official test part is takes 0 to 4 of every speaker and digit.  Source: Z. Jackson et al.,
https://github.com/Jakobovski/free-spoken-digit-dataset (CC BY-SA 4.0).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfedge.data.catalogue import Catalogue, SplitPart, labels_in
from dfedge.data.dataset import Labels, Split
from dfedge.data.door import SampleFilter
from dfedge.data.inputs import InputRule
from dfedge.data.inputs.sound import SoundRule
from dfedge.data.locate import locate
from dfedge.data.logmel import middle
from dfedge.data.reading import Reading
from dfedge.data.recordings import RecordedWindows
from dfedge.data.wav import read_wav
from dfedge.errors import DfedgeError, unknown_name

CLASSES = tuple("0123456789")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TEST_TAKES = 5
SOUND = "sound"
HOW_TO_GET = "Get the folder recordings/ of github.com/Jakobovski/free-spoken-digit-dataset."


@dataclass(frozen=True)
class Recordings:
    """The `middle` of each, int16 [N, L], with digit, speaker (of `SPEAKERS`), take, int64 [N]."""

    x: NDArray[np.int16]
    y: Labels
    speaker: NDArray[np.int64]
    take: NDArray[np.int64]

    def where(self, mask: NDArray[np.bool_], rule: InputRule | None = None) -> Split:
        """The recordings of a mask, bool [N], as a rule reads them; None: `SoundRule`."""
        return Split((rule or SoundRule()).apply(self.x[mask], "fsdd"), self.y[mask])


def recordings(data_dir: Path | None = None) -> Recordings:
    """Every recording, by name.

    Raises:
        DfedgeError: not found, or a file that cannot be used.
    """
    return _read(recordings_folder(data_dir))


def recordings_folder(data_dir: Path | None = None) -> Path:
    """Where the files lie.

    Raises:
        DfedgeError: not found.
    """
    names = [f"recordings/{digit}_{who}_0.wav" for digit in CLASSES for who in SPEAKERS]
    folder = locate(["free-spoken-digit-dataset", "fsdd"], names, data_dir, HOW_TO_GET)
    return folder / "recordings"


@cache
def _read(folder: Path) -> Recordings:
    x, rows = [], []
    for path in sorted(folder.glob("*.wav")):
        digit, who, take = [*path.stem.split("_"), "", ""][:3]
        if who not in SPEAKERS or digit not in CLASSES or not take.isdecimal():
            raise DfedgeError(f"{path}: its name is not DIGIT_SPEAKER_TAKE.wav")
        x.append(middle(read_wav(path)))
        rows.append((int(digit), SPEAKERS.index(who), int(take)))
    y, speaker, take = np.array(rows, np.int64).T
    return Recordings(np.stack(x), y, speaker, take)


def speaker_number(name: str) -> int:
    """A speaker's place in `SPEAKERS`.

    Raises:
        UsageError: no such speaker.
    """
    if name not in SPEAKERS:
        raise unknown_name("speaker", name, list(SPEAKERS))
    return SPEAKERS.index(name)


@dataclass(frozen=True)
class Spoken:
    """The set as it is opened; ``left_out``: a speaker who is in none of its splits."""

    name: str
    found: Recordings
    left_out: str | None = None

    def catalogue(
        self, classes: tuple[str, ...] | None, door: SampleFilter, reading: Reading
    ) -> Catalogue:
        """Its official parts; in one piece where speakers are to be left out (``speaker:theo``).

        Raises:
            DfedgeError: a model that knows other classes.
        """
        found, labels = self.found, labels_in(self.name, CLASSES, classes)
        kept = np.ones(len(found.y), bool)
        if self.left_out is not None:
            kept = found.speaker != speaker_number(self.left_out)
        y = found.y if labels is None else np.asarray(labels, np.int64)[found.y]
        whole = RecordedWindows(
            found.x,
            y,
            self.name,
            np.arange(len(y)),
            np.zeros(len(y), np.int64),
            {"speaker": np.array(SPEAKERS)[found.speaker]},
            reading.leave_out,
        )
        test = found.take < TEST_TAKES
        masks = {"train": kept & ~test, "test": kept & test}
        masks = {"all": kept} if reading.leave_out else masks
        parts: dict[str, SplitPart] = {
            name: whole.take(np.flatnonzero(mask)) for name, mask in masks.items()
        }
        return Catalogue(self.name, classes or CLASSES, parts, SOUND)


def load(data_dir: Path | None = None, left_out: str | None = None) -> Spoken:
    """The official train and test parts, those of one speaker left out."""
    name = "fsdd" if left_out is None else f"fsdd-without-{left_out}"
    return Spoken(name, recordings(data_dir), left_out)
