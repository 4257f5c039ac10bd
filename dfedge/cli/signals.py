"""Ctrl-C and SIGTERM are one wish: stop soon, keep what was learned, and say so in one line.

Most commands end at the first signal.  A command that saves between two steps stops after the step
at the first signal, and ends at the second.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dfedge.errors import DfedgeError

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM"}


class Terminated(SystemExit):
    """SIGTERM came: what KeyboardInterrupt is to Ctrl-C."""


class StoppedError(DfedgeError):
    """A command that a signal stopped (exit code 130 for SIGINT, 143 for SIGTERM).

    Args:
        number: the signal's.
        kept: what was kept, to be read after the word for the signal.
    """

    def __init__(self, number: int, kept: str = "") -> None:
        super().__init__(f"{WORDS[signal.Signals(number)]}{kept}; repeat the command to go on")
        self.exit_code = 128 + number


@contextmanager
def told(kept: str | Callable[[], str] = "") -> Iterator[None]:
    """Let either signal end the block with an error in one line.

    Args:
        kept: what was kept, to be read after the word for the signal; a function is asked then.

    Raises:
        StoppedError: a signal came.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except (KeyboardInterrupt, Terminated) as error:
        number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        raise StoppedError(number, kept() if callable(kept) else kept) from error
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: Any) -> None:
    raise Terminated(128 + number)


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """A list that the first signal's number is put into; the second signal ends the block."""
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)
        restore()

    def restore() -> None:
        for one, handler in before.items():
            signal.signal(one, handler)

    before = {one: signal.signal(one, note) for one in WORDS}
    try:
        yield received
    finally:
        restore()
