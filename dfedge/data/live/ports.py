"""Where samples come from: standard input, a file, a named pipe, a serial port, a microphone."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from dfedge.data.live.microphone import MICROPHONE, microphone
from dfedge.errors import UsageError

STDIN, OWN = "-", 0
"""The word for standard input, and its descriptor."""


@contextmanager
def opened(source: str, baud: int | None, sound: bool = False) -> Iterator[int]:
    """A descriptor to read lines from.

    A pipe with a name is opened at once, whether or not anybody writes to it yet.  A serial port is
    read as it comes, without echo, and has its settings back afterwards.

    Args:
        source: ``-``, ``mic``, or a path.
        baud: of a serial port; None: as it is set.
        sound: whether that is what is wanted.

    Raises:
        UsageError: nothing of that name, a folder, a rate that does not exist or that is for none.
        UsageError, ResourceError: as `microphone`.
    """
    if source == MICROPHONE:
        if baud is not None or not sound:
            flaw = "--baud is for a serial port" if sound else "the model reads no sound"
            raise UsageError(f"--source {MICROPHONE}: {flaw}; leave it out")
        with microphone() as descriptor:
            yield descriptor
        return
    if source == STDIN:
        if baud is not None:
            raise UsageError("--baud is for a serial port; standard input is not one")
        yield OWN
        return
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        descriptor = os.open(source, flags)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"--source {source}: {why}; expected: -, mic, a file, a named pipe, or a serial port"
        ) from error
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise UsageError(f"--source {source}: a folder; for recordings there is dfedge predict")
        with _as_a_port(descriptor, source, baud):
            yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _as_a_port(descriptor: int, source: str, baud: int | None) -> Iterator[None]:
    if not os.isatty(descriptor):
        if baud is not None:
            raise UsageError(f"--baud is for a serial port; {source} is not one")
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        if baud is not None:
            speed = _speeds(termios).get(baud)
            if speed is None:
                known = ", ".join(map(str, sorted(_speeds(termios))))
                raise UsageError(f"--baud {baud}: this machine has no such rate; known: {known}")
            now = termios.tcgetattr(descriptor)
            now[4] = now[5] = speed
            termios.tcsetattr(descriptor, termios.TCSANOW, now)
        yield
    finally:
        with suppress(termios.error):  # it was unplugged
            termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _speeds(termios: Any) -> dict[int, int]:
    """Bauds -> how the system calls them."""
    names = (name for name in dir(termios) if name[:1] == "B" and name[1:].isdigit())
    return {int(name[1:]): getattr(termios, name) for name in names if name != "B0"}


def commands(source: str) -> tuple[int, ...]:
    """Standard input beside a source that is another one, for commands: its descriptor.

    None of a terminal in whose background the process runs: to read it would halt the process.
    """
    if source == STDIN:
        return ()
    try:
        behind = os.isatty(OWN) and os.tcgetpgrp(OWN) != os.getpgrp()
        os.fstat(OWN)
    except OSError:
        return ()
    return () if behind else (OWN,)
