"""A session that answers a signal as it comes, and learns what it is told of it.

A line is a sample of a signal or a piece of a sound (`dfedge.data.live.reader`), ``l NAME``, which
teaches the last window as a class, or ``s``, which saves.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from dfedge.data.door import SampleFilter
from dfedge.data.inputs.sound import SoundRule
from dfedge.data.live.lines import LONGEST
from dfedge.data.live.reader import reader_of
from dfedge.data.live.samples import BadLineError
from dfedge.device.answers import Prediction
from dfedge.device.normal import NormalDistance, judge
from dfedge.device.session import Session
from dfedge.errors import DfedgeError, ResourceError, UsageError

TEACH, SAVE = "l", "s"


@dataclass(frozen=True)
class Answer:
    """Of one window: its number, from 1, and what it is."""

    window: int
    prediction: Prediction


@dataclass(frozen=True)
class Verdict:
    """Of one window: its number, from 1, and whether it is normal."""

    window: int
    judged: NormalDistance


@dataclass(frozen=True)
class Taught:
    """A window was learned as a class of this name."""

    window: int
    name: str


@dataclass(frozen=True)
class TakenBack:
    """The guard judged: a part, or all, of what was taught since it last did is gone."""

    wholly: bool


@dataclass(frozen=True)
class Saved:
    """What was taught is on the medium: where, and presentations in all."""

    folder: Path
    presentations: int


@dataclass(frozen=True)
class Refused:
    """A line came to nothing."""

    why: str


Event = Answer | Verdict | Taught | TakenBack | Saved | Refused


class Live:
    """One signal and one session; ``with Live(...) as live:``.

    The state folder is held against other writers from the first window that is taught on.

    Attributes:
        windows, taught: how many there were.
        samples: lines that were one, or a piece.
        hears: whether they are of a sound.
        door: counts those that came to nothing.
    """

    def __init__(self, session: Session, hop: int = 0, door: SampleFilter | None = None) -> None:
        """Begin.

        Args:
            hop: samples from one window's start to the next; 0: what the bundle's data were cut by,
                else half a window.
            door: what becomes of bad lines; None passes over them.

        Raises:
            UsageError: the model reads neither signals nor sound.
        """
        rule = session.bundle.manifest.input
        reader = reader_of(rule, session.bundle.manifest.reading, hop)
        if reader is None:
            raise UsageError(
                f"{session.bundle.folder} reads {rule.samples.removeprefix('the ')}, not a signal "
                "or sound; for files there is dfedge predict"
            )
        self.hears = isinstance(rule, SoundRule)
        self.session, self.rule, self.door = session, rule, door or SampleFilter("skip")
        self.windows = self.samples = self.taught = self._lines = 0
        self._read, self._sliding = reader
        self._last: NDArray[Any] | None = None
        self._held = ExitStack()
        self._holds = self._unsaved = False
        self._gone = (0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    def line(self, text: str | None) -> Iterator[Event]:
        """What comes of a line of the source; None: of one that was too long to be kept.

        Raises:
            DfedgeError: a bad line, where the door stops at one.
        """
        self._lines += 1
        if text is not None and not text.strip():
            return
        try:
            if text is None:
                raise BadLineError("length", f"longer than {LONGEST:,} bytes")
            if self._read.header(text):
                self._sliding.clear()  # whoever says it anew has begun anew
                return
            if _command(text) is not None:
                yield from self.command(text)
                return
            sample = self._read.read(text)
        except BadLineError as error:
            self._sliding.clear()
            yield from self._refused(error)
            return
        self.samples += 1
        for window in self._sliding.add(sample):
            self._last, self.windows = window, self.windows + 1
            yield self._answer(window)

    def _answer(self, window: NDArray[Any]) -> Answer | Verdict:
        if self.session.bundle.manifest.normal is None:
            return Answer(self.windows, self.session.predict(window))
        return Verdict(self.windows, judge(self.session, self.session.input(window[None])))

    def command(self, text: str | None) -> Iterator[Event]:
        """What comes of a line that can be a command alone."""
        found = _command(text or "")
        if found is None:
            yield Refused(f"{(text or '')[:40]!r} is not a command; known: l NAME, s")
        elif found[0] == SAVE:
            yield from self.save() if self._unsaved else [Refused("nothing is left to save")]
        else:
            yield from self._teach(found[1])

    def save(self) -> Iterator[Event]:
        """Let the guard judge, and write what was taught since the last save, if anything was.

        Raises:
            ResourceError: it cannot be written.
        """
        if self._unsaved and not self.session.broken:
            self.session.save()
            self._unsaved = False
            yield from self._judged()
            yield Saved(self.session.folder, self.session.record.samples)

    def _teach(self, name: str) -> Iterator[Event]:
        if self.session.bundle.manifest.normal is not None:
            yield Refused("what is normal is not taught by name; dfedge continual follows a drift")
            return
        if self._last is None:
            yield Refused(f"no window yet: {self.rule} are read")
            return
        try:
            number = self.session.label(name)
            if not self._holds:
                self._held.enter_context(self.session.store.writing())
                self._holds = True
        except (UsageError, ResourceError) as error:
            yield Refused(str(error))
            return
        self.session.learn(self._last, number)
        self.taught, self._unsaved = self.taught + 1, True
        yield Taught(self.windows, self.session.classes[number])
        yield from self._judged()

    def _judged(self) -> Iterator[Event]:
        if not self.session.care.guard:
            return
        keeper = self.session.keeper
        before, self._gone = self._gone, (keeper.partly, keeper.wholly)
        if self._gone != before:
            yield TakenBack(self._gone[1] > before[1])

    def _refused(self, error: BadLineError) -> Iterator[Event]:
        """Count a bad line; the first of each kind is told."""
        told = f"line {self._lines:,}: {error}"
        self.door.refuse(DfedgeError(told), error.flaw)
        if self.door.skipped[error.flaw] == 1:
            yield Refused(told)


def _command(line: str) -> tuple[str, str] | None:
    """The letter of a command, and the name after it."""
    word, _, name = line.strip().partition(" ")
    if (word, name) == (SAVE, ""):
        return SAVE, ""
    return (TEACH, name.strip()) if word == TEACH else None
