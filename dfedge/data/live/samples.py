"""A line of numbers is a sample of a signal; samples become windows that slide."""

import math
import re

import numpy as np
from numpy.typing import NDArray

from dfedge.data.inputs.window import WindowRule
from dfedge.data.tables import is_number
from dfedge.errors import DfedgeError

APART = re.compile(r"\s*[,;]\s*|\s+")
REMEDY = "correct the sender, or skip such lines with --on-bad-sample skip"


class BadLineError(DfedgeError):
    """A line that is not a sample.

    Args:
        flaw: in a word or two, to count it by.
        what: was found.
    """

    def __init__(self, flaw: str, what: str) -> None:
        super().__init__(f"{what}; {REMEDY}")
        self.flaw = flaw


class LineReader:
    """Lines become samples in the order of a rule's channels.

    A header, a line that holds the channels' names, says in which order they come from there on;
    its other columns (a time, a label) are skipped.

    Attributes:
        channels: how many.
        places: of each channel among a line's cells.
        wide: cells of a line.
    """

    def __init__(self, rule: WindowRule) -> None:
        self.channels, self._names = len(rule.scales), rule.names
        self.places, self.wide = list(range(self.channels)), self.channels
        self._commas = False

    def header(self, line: str) -> bool:
        """Whether a line is one; its order is taken then.

        Raises:
            BadLineError: it names some of the channels, and not all.
        """
        commas = bool(re.search("[,;]", line))  # then names may have blanks in them
        cells = [cell.strip("\"' ") for cell in _cells(line, commas)]
        missing = [name for name in self._names if name not in cells]
        if not self._names or len(missing) == len(self._names) or all(map(is_number, cells)):
            return False
        if missing:
            raise BadLineError(
                "header", f"no column {', '.join(missing)}; expected: {', '.join(self._names)}"
            )
        self.places, self.wide = [cells.index(name) for name in self._names], len(cells)
        self._commas = commas
        return True

    def read(self, line: str) -> NDArray[np.float64]:
        """A sample [C].

        Raises:
            BadLineError: another number of values, a word, or a value that is not finite.
        """
        cells = _cells(line, self._commas)
        if len(cells) != self.wide:
            raise BadLineError("count", f"{len(cells)} values; expected: {self.wide}")
        wanted = [cells[place] for place in self.places]
        bad = next((one for one in wanted if not is_number(one)), None)
        if bad is not None:
            raise BadLineError("word", f"{bad[:40]!r} is not a number")
        values = [float(one) for one in wanted]
        if not all(map(math.isfinite, values)):
            raise BadLineError("value", "a value is not finite")
        return np.array(values)


def _cells(line: str, commas_alone: bool) -> list[str]:
    """Cells of a line; one separator at its end counts for nothing."""
    line = re.sub(r"\s*[,;]?\s*$", "", line).lstrip()
    return re.split(r"[,;]", line) if commas_alone else APART.split(line)


class Sliding:
    """Samples become windows: the first of the first T, each other one ``hop`` samples later.

    Attributes:
        count: samples of the next window that are there; negative: so many are skipped first.
    """

    def __init__(self, length: int, channels: int, hop: int) -> None:
        self._rows = np.empty((length, channels))
        self.hop, self.count = hop, 0

    def add(self, sample: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """The window [T, C] that a sample [C] completes, if it does."""
        if self.count >= 0:
            self._rows[self.count] = sample
        self.count += 1
        length = len(self._rows)
        if self.count < length:
            return []
        window = self._rows.copy()
        kept = max(length - self.hop, 0)
        self._rows[:kept] = window[length - kept :]
        self.count = length - self.hop
        return [window]

    def clear(self) -> None:
        """There is a gap: no window lies across it."""
        self.count = 0
