"""What all commands print through: results on stdout, progress and errors on stderr.

Whatever is printed may hold a stranger's names, so all text goes through `shown`.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from dfedge.progress import PROGRESS
from dfedge.units import percent as percent
from dfedge.units import size as size
from dfedge.visible import visible

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)
FIRST_COLUMN = 16
"""Letters that the first column of a table keeps at least."""
FRAME, GAP = 4, 3
"""What lines and spaces take: around a table of one column, and for each other one."""
SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""


class Verbosity(IntEnum):
    """How much a command says."""

    QUIET, NORMAL, VERBOSE = range(3)


_verbosity = Verbosity.NORMAL


def speak(verbosity: Verbosity) -> None:
    """From now on, say so much."""
    global _verbosity
    _verbosity = verbosity


def verbose() -> bool:
    """Whether all details are wanted."""
    return _verbosity is Verbosity.VERBOSE


def quiet() -> bool:
    """Whether results alone are wanted."""
    return _verbosity is Verbosity.QUIET


def print_json(value: Any) -> None:
    """One JSON object on stdout, for machines."""
    print(json.dumps(value, indent=2))


def print_json_line(value: Any) -> None:
    """One JSON object on a line of its own, at once: for machines that read as it comes."""
    print(json.dumps(value), flush=True)


def shown(text: str) -> str:
    """Text for Rich: nothing in it steers the terminal, and nothing is markup."""
    return escape(visible(text))


def fail(message: str, code: int) -> int:
    """One line on stderr; the exit code."""
    try:
        err.print(f"[bold red]error:[/] {shown(message)}", soft_wrap=True)
    except MemoryError:  # what is reported may be that there is none
        sys.stderr.write(f"error: {visible(message)}\n")
    return code


def warn(notes: list[str]) -> None:
    """Lines on stderr: what was skipped, and that the command went on; none for --quiet."""
    for note in [] if quiet() else notes:
        err.print(f"[bold yellow]note:[/] {shown(note)}", soft_wrap=True)


class Notes(logging.Handler):
    """What the rooms below log, as notes; each once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        text = record.getMessage()
        if record.name == PROGRESS.name:
            watched(text)
        elif text not in self.told:
            self.told.add(text)
            warn([text])


def watched(text: str) -> None:
    """A line of progress on stderr; none for --quiet."""
    if not quiet():
        err.print(f"[dim]{shown(text)}[/]", soft_wrap=True)


def take_notes() -> None:
    """From now on, show what dfedge logs, as much as is usual."""
    speak(Verbosity.NORMAL)
    log = logging.getLogger("dfedge")
    log.setLevel(logging.INFO)
    log.handlers = [Notes()]


def say(text: str, *, next_command: str | None = None) -> None:
    """A result line, and the command that a user would type next."""
    out.print(shown(text), soft_wrap=True)
    if next_command and not quiet():
        out.print(f"[dim]next:[/] {shown(next_command)}", soft_wrap=True)


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table; every column after the first is for numbers, which stay whole where there is room.

    What is too long for the terminal, a path most often, is folded in the first column.
    """
    view = Table(title=shown(title), title_justify="left")
    widths = [
        max(map(len, [*column.split(), *(row[i] for row in rows)]), default=0)
        for i, column in enumerate(columns)
    ]
    room = out.width - FRAME - sum(width + GAP for width in widths[1:])
    if room >= FIRST_COLUMN:  # else all are folded alike
        widths[0] = min(max(widths[0], len(columns[0])), room)
    for i, column in enumerate(columns):
        view.add_column(
            shown(column), justify="left" if i == 0 else "right", overflow="fold",
            width=widths[i] if room >= FIRST_COLUMN else None,
        )  # fmt: skip
    for row in rows:
        view.add_row(*(shown(cell) for cell in row))
    out.print(view)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr; without a terminal, a line every few seconds.

    Call it with (what, steps done, steps in all).
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    hidden = quiet() or not err.is_terminal
    with Progress(*columns, console=err, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=None)
        begun = last = time.monotonic()

        def watch(what: str, done: int, total: int) -> None:
            nonlocal last
            bar.update(task, description=shown(what), completed=done, total=total)
            now = time.monotonic()
            if not err.is_terminal and now - last >= SECONDS:
                last = now
                watched(f"{what}: {done:,} of {total:,} ({now - begun:.0f} s)")

        yield watch
