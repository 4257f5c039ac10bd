"""Utterances: a microphone's samples at 8 kHz, which become log-mel features (`logmel`).

The features are computed in integers, so that a device makes the same bytes of the same samples
(``dfe_log_mel_input`` in C, of which `SoundRule.in_c` writes the tables).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.data.change import Changed
from dfedge.data.dataset import Images
from dfedge.data.inputs.rule import InC, InputRule, Shift
from dfedge.data.inputs.table import table
from dfedge.data.logmel import KEYWORDS, RATE, SPEECH, LogMel, cosines, filters, log_mel
from dfedge.data.loudness import octave
from dfedge.data.shift_forms import SOUNDS, ShiftForm
from dfedge.data.sound_shifts import CHANGES, muffled, noise
from dfedge.data.wav import SUFFIX, read_wav
from dfedge.errors import DfedgeError

Features = Literal["log-mel 32x32", "log-mel 49x10"]
"""Frames by bands."""
NOISE, MUFFLED = 25, 6
"""Decibels: a mild change."""
SIZES: dict[Features, LogMel] = {"log-mel 32x32": SPEECH, "log-mel 49x10": KEYWORDS}


class SoundRule(
    InputRule, msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind",
    tag="sound", omit_defaults=True,
):  # fmt: skip
    """The rate is that of `dfedge.data.logmel`; the size of its features is to be chosen."""

    features: Features = "log-mel 32x32"

    sample: ClassVar[str] = "an utterance"
    samples: ClassVar[str] = "the utterances"
    suffixes: ClassVar[tuple[str, ...]] = (SUFFIX,)
    shifts: ClassVar[Mapping[str, ShiftForm]] = SOUNDS
    known_features: ClassVar[tuple[str, ...]] = get_args(Features)
    owner: ClassVar[str] = "speaker"

    @property
    def size(self) -> LogMel:
        """Of the features."""
        return SIZES[self.features]

    @property
    def shape(self) -> tuple[int, int, int]:
        """[frames, mels, 1]."""
        return self.size.frames, self.size.mels, 1

    @property
    def net(self) -> str:
        """See `InputRule`."""
        return "speech" if self == SoundRule() else "kws"

    def featured(self, word: str, x: NDArray[Any] | None = None) -> Self:
        """See `InputRule`."""
        return msgspec.structs.replace(self, features=self.known(word))

    def sized(self, shape: Sequence[int | None], x: NDArray[Any] | None = None) -> Self:
        """See `InputRule`."""
        other = (self.featured(word) for word in self.known_features)
        return next((one for one in other if one.shape[:2] == tuple(shape[:2])), self)

    def apply(self, x: NDArray[Any], where: str) -> Images:
        """Utterances int16 [N, L]; see `InputRule`."""
        x = self.checked(x, where)
        if x.ndim == 4 and x.shape[1:] != self.shape:
            raise DfedgeError(
                f"{where}: features {list(x.shape[1:])}; the model reads {list(self.shape)}"
            )
        if x.ndim == 4:
            return x
        return np.stack([log_mel(one, self.size) for one in x])

    @classmethod
    def checked(cls, x: NDArray[Any], where: str) -> NDArray[Any]:
        """Utterances [N, L] of whole numbers as int16, or codes as they are.

        Raises:
            DfedgeError: other axes, or values that do not fit 16 bits.
        """
        if x.dtype == np.uint8 and x.shape[1:] in _SHAPES:
            return x
        if x.ndim != 2 or not x.size:
            raise DfedgeError(
                f"{where}: x has shape {x.shape}; allowed: utterances [N, samples] at {RATE} a "
                f"second, or their features, bytes [N, frames, bands, 1]"
            )
        if not np.issubdtype(x.dtype, np.signedinteger):
            raise DfedgeError(f"{where}: x holds {x.dtype}; allowed: samples of 16 bits, signed")
        bad = np.flatnonzero(cls.unusable(x))
        if len(bad):
            raise DfedgeError(
                f"{where}: utterance {bad[0]} reaches from {x[bad[0]].min()} to {x[bad[0]].max()}; "
                "allowed: samples of 16 bits"
            )
        return x.astype(np.int16)

    @classmethod
    def suited(cls, x: NDArray[Any], names: Sequence[str] = ()) -> "SoundRule":
        """See `InputRule`."""
        return cls()

    @classmethod
    def of_files(cls, files: Sequence[Path]) -> "SoundRule":
        """See `InputRule`."""
        return cls()

    @classmethod
    def try_file(cls, path: Path) -> None:
        """See `InputRule`."""
        read_wav(path)

    def read(self, path: Path) -> Images:
        """The one utterance of a file .wav; see `InputRule`."""
        if path.suffix.lower() != SUFFIX:
            raise DfedgeError(f"{path}: no recording; the model reads files {SUFFIX}")
        return log_mel(read_wav(path), self.size)[None]

    @classmethod
    def unusable(cls, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Values that do not fit 16 bits; see `InputRule`."""
        if not np.issubdtype(x.dtype, np.integer):
            return np.zeros(len(x), bool)
        least, most = np.iinfo(np.int16).min, np.iinfo(np.int16).max
        return np.asarray(((x < least) | (x > most)).reshape(len(x), -1).any(1))

    def in_c(self) -> InC:
        """Of samples as a microphone's converter gives them: see `InputRule`."""
        return InC(
            ("log_mel.h",),
            f"One utterance of so many samples, {RATE} a second, of any length.",
            "void net_input(const int16_t *sound, int32_t length, int8_t *x)",
            self._tables(),
            "    dfe_log_mel_input(&log_mel, sound, length, x);",
        )

    def shift(self, name: str, numbers: list[float]) -> Shift:
        """See `InputRule`."""
        change = CHANGES[name]
        return lambda x: change(x, *numbers)

    def changed(self, x: Images, like: Images, seed: int = 0) -> Changed:
        """In another room, through another microphone; see `InputRule`."""
        return (
            muffled(noise(x, NOISE), MUFFLED),
            f"noise {NOISE} dB below the loudest, muffled by {MUFFLED} dB",
        )

    def _tables(self) -> str:
        size = self.size
        bins = [f"{{{first}, {low}, {high}}}" for first, low, high in _bins(size)]
        return "\n".join(
            [
                table("int64_t octave", octave()),
                table("int32_t cosines", np.resize(cosines(size.frame), size.frame * 5 // 4)),
                table("dfe_mel bins", bins),
                "static const dfe_log_mel log_mel = "
                f"{{octave, cosines, bins, {size.frame}, {size.frames}, {size.mels}}};",
            ]
        )

    def __str__(self) -> str:
        """``utterances at 8000 samples a second``."""
        return f"utterances at {RATE} samples a second"


def _bins(size: LogMel) -> list[tuple[int, int, int]]:
    """Of each bin: the first of two triangles that it lies in, and its weights in both."""
    found = []
    for weights in filters(size):
        first = min(int((weights > 0).argmax()), size.mels - 2)
        found.append((first, int(weights[first]), int(weights[first + 1])))
    return found


_SHAPES = [SoundRule(one).shape for one in SIZES]
