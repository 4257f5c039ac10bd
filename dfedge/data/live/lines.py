"""Lines from files, pipes and ports as they come, in bounded memory, until someone says stop."""

import errno
import os
import select
from collections.abc import Callable, Iterator

LONGEST = 1 << 18
"""Bytes of a line; what is longer is dropped as it comes."""
READ = 1 << 16
PATIENCE = 0.2
"""Seconds between two looks at whether to stop, while nothing comes."""


class Splitter:
    """Bytes in any pieces become lines; of a line that is too long nothing is kept."""

    def __init__(self) -> None:
        self._part = bytearray()
        self._long = False

    def feed(self, piece: bytes) -> Iterator[str | None]:
        """The lines that a piece completes, without their ends; None: one that was too long."""
        *ended, rest = piece.split(b"\n")
        for one in ended:
            self._add(one)
            yield self._end()
        self._add(rest)

    def last(self) -> Iterator[str | None]:
        """What the input ended in, where that has no end of its own."""
        if self._part or self._long:
            yield self._end()

    def _add(self, piece: bytes) -> None:
        if self._long or len(self._part) + len(piece) > LONGEST:
            self._long = True
            self._part.clear()
        else:
            self._part += piece

    def _end(self) -> str | None:
        line = None if self._long else self._part.decode("utf-8", "replace")
        self._part.clear()
        self._long = False
        return line


def lines(
    first: int, others: tuple[int, ...] = (), stop: Callable[[], bool] = lambda: False
) -> Iterator[tuple[int, str | None]]:
    """Lines of open descriptors: (descriptor, line; None: it was longer than `LONGEST`) each.

    They end with the first descriptor's input, or soon after ``stop`` says so.

    Args:
        others: descriptors that are read as well, as long as they last.
    """
    splitters = {one: Splitter() for one in (first, *others)}
    while first in splitters:
        ready, _, _ = select.select(list(splitters), [], [], PATIENCE)
        if stop():
            return
        for one in ready:
            piece = _read(one)
            if piece is None:
                continue
            splitter = splitters[one]
            for line in splitter.feed(piece) if piece else splitter.last():
                yield one, line
                if stop():
                    return
            if not piece:
                del splitters[one]


def _read(descriptor: int) -> bytes | None:
    """What is there; nothing at the end; None: nothing yet."""
    try:
        return os.read(descriptor, READ)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.EIO:  # a port that was unplugged, a terminal that is gone
            return b""
        raise
