"""The one kind of error that dfedge raises for bad input.

A message tells what is wrong, where, what was found, what is allowed and what to do next, in
one or two sentences.  The command line prints it without a traceback and exits with its code.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T", bound=str)
LONGEST_MESSAGE = 2000
"""Letters of a message: it may quote what a stranger's file says, and not all of it."""
FIRST_LETTERS = 1200
"""Kept of a longer one, and its end, which says what to do."""


class DfedgeError(Exception):
    """Data, a file or a program that cannot be used as it is (exit code 1)."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(_shortened(message))


class UsageError(DfedgeError):
    """A name, an option or a combination of options that does not exist (exit code 2)."""

    exit_code = 2


class ResourceError(DfedgeError):
    """The machine could not: disk full, a failed flush, state in use, no memory (exit code 3).

    What lay on the disk before lies there still, so the same command may be tried again.
    """

    exit_code = 3


@contextmanager
def foreign(where: object, noun: str, remedy: str = "") -> Iterator[None]:
    """A library reads a stranger's bytes in this block: whatever it raises, the bytes are at fault.

    Raises:
        DfedgeError: in the place of any other exception.
        MemoryError: the machine is at fault.
    """
    try:
        yield
    except (DfedgeError, MemoryError):
        raise
    except Exception as error:  # parsers raise dozens of unrelated classes
        text = " ".join(str(error).split())[:200] or type(error).__name__
        hint = f"; {remedy}" if remedy else ""
        raise DfedgeError(f"{where}: cannot be read as {noun} ({text}){hint}") from error


def unknown_name(kind: str, name: str, allowed: list[str], remedy: str = "") -> UsageError:
    """Make the error for a name that is in no table: ``unknown rule 'x'; known: a, b``.

    Where one is spelled much alike: ``unknown rule 'x' (did you mean 'y'?); known: ...``.
    """
    hint = f"; {remedy}" if remedy else ""
    known = ", ".join(sorted(allowed))
    return UsageError(f"unknown {kind} '{name}'{meant(name, allowed)}; known: {known}{hint}")


def meant(name: str, allowed: Iterable[str]) -> str:
    """`` (did you mean 'y'?)`` where a name is spelled much alike, else nothing."""
    near = get_close_matches(name.lower(), allowed, n=1, cutoff=0.7)
    return f" (did you mean '{near[0]}'?)" if near else ""


def chosen(kind: str, name: str, allowed: Sequence[T]) -> T:
    """The word that is meant.

    Raises:
        UsageError: it is none of those.
    """
    for one in allowed:
        if one == name:
            return one
    raise unknown_name(kind, name, list(allowed))


def _shortened(message: str) -> str:
    if len(message) <= LONGEST_MESSAGE:
        return message
    mark = f" [... {len(message) - LONGEST_MESSAGE:,} letters and more ...] "
    return message[:FIRST_LETTERS] + mark + message[FIRST_LETTERS + len(mark) - LONGEST_MESSAGE :]
