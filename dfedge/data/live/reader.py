"""How lines of a source become what a model reads: windows of a signal, or utterances."""

from typing import Any, Protocol

from msgspec.structs import replace
from numpy.typing import NDArray

from dfedge.data.inputs import InputRule
from dfedge.data.inputs.sound import SoundRule
from dfedge.data.inputs.window import WindowRule
from dfedge.data.live.samples import LineReader, Sliding
from dfedge.data.live.sounds import Overlapping, Pieces
from dfedge.data.reading import Reading


class Reader(Protocol):
    """Lines become arrays."""

    def header(self, line: str) -> bool:
        """Whether a line says how the others are to be read."""

    def read(self, line: str) -> NDArray[Any]:
        """What a line holds.

        Raises:
            BadLineError: nothing that can be used.
        """


class Cutter(Protocol):
    """Arrays of lines become samples of a model."""

    def add(self, given: NDArray[Any], /) -> list[NDArray[Any]]:
        """The samples that are completed."""

    def clear(self) -> None:
        """There is a gap."""


def reader_of(rule: InputRule, reading: Reading, hop: int) -> tuple[Reader, Cutter] | None:
    """For a model's rule; None: its samples do not come in lines.

    Args:
        reading: of the data that it was trained on.
        hop: from one window's start to the next; 0: as ``reading`` says, else half a window.
    """
    if isinstance(rule, WindowRule):
        step = _step(reading, rule.length, hop)
        return LineReader(rule), Sliding(rule.length, len(rule.scales), step)
    if isinstance(rule, SoundRule):
        length = rule.size.length
        return Pieces(), Overlapping(length, _step(reading, length, hop))
    return None


def _step(reading: Reading, length: int, hop: int) -> int:
    return replace(reading, window=length, hop=hop or reading.hop).step
