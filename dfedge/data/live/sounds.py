"""A line of numbers is a piece of a sound; pieces become utterances that overlap."""

import numpy as np
from numpy.typing import NDArray

from dfedge.data.live.samples import APART, BadLineError

LEAST, MOST = np.iinfo(np.int16).min, np.iinfo(np.int16).max
Sound = NDArray[np.int16]


class Pieces:
    """Lines become pieces of a sound; none is a header."""

    def header(self, line: str) -> bool:
        """See `dfedge.data.live.samples.Samples`."""
        return False

    def read(self, line: str) -> Sound:
        """A piece [N], as many samples as the line has.

        Raises:
            BadLineError: a word, or a number that is not a sample of 16 bits.
        """
        try:
            values = [int(word) for word in APART.split(line.strip(" ,;\r\t"))]
        except ValueError as error:
            raise BadLineError("word", f"{line[:40]!r} holds more than whole numbers") from error
        if not all(LEAST <= value <= MOST for value in values):
            raise BadLineError("value", f"a value is outside {LEAST} to {MOST}")
        return np.array(values, np.int16)


class Overlapping:
    """Pieces become utterances: the first of the first L samples, each other ``hop`` later."""

    def __init__(self, length: int, hop: int) -> None:
        self.length, self.hop = length, hop
        self._heard, self._ahead = np.empty(0, np.int16), 0

    def add(self, piece: Sound) -> list[Sound]:
        """The utterances that a piece completes, each [L]."""
        heard, found = self._on(np.concatenate([self._heard, piece])), []
        while not self._ahead and len(heard) >= self.length:
            found.append(heard[: self.length])
            self._ahead = self.hop
            heard = self._on(heard)
        self._heard = heard
        return found

    def _on(self, heard: Sound) -> Sound:
        """What is left when the samples before the next utterance are skipped."""
        passed = min(self._ahead, len(heard))
        self._ahead -= passed
        return heard[passed:]

    def clear(self) -> None:
        """There is a gap: no utterance lies across it."""
        self._heard, self._ahead = np.empty(0, np.int16), 0
