"""Names of classes: one name has one spelling, whichever system it was typed or stored on."""

import unicodedata
from collections.abc import Sequence

from dfedge.errors import DfedgeError

MOST_LETTERS = 255
SHOWN = 8
"""Names that a message lists."""


def spelled(name: str) -> str:
    """The name with letters and their marks joined (NFC): macOS may hand them out apart."""
    return unicodedata.normalize("NFC", name)


def class_flaw(names: Sequence[str]) -> str | None:
    """Why these cannot be the names of classes, or None."""
    if not all(0 < len(name) <= MOST_LETTERS for name in names):
        return f"a name has no letter, or more than {MOST_LETTERS}"
    if len(set(map(spelled, names))) != len(names):
        return "two of them are one name"
    return None


def checked_names(names: Sequence[str], where: object) -> tuple[str, ...]:
    """Names of classes, each in its one spelling.

    Args:
        where: they were found, for the message.

    Raises:
        DfedgeError: names that no classes can have.
    """
    flaw = class_flaw(names)
    if flaw is not None:
        raise DfedgeError(f"{where}: invalid names of classes: {flaw}; rename one")
    return tuple(map(spelled, names))


def places(names: Sequence[str], known: Sequence[str]) -> list[int] | None:
    """Where each name stands among a model's; None: one of them is none of these."""
    at = {spelled(name): place for place, name in enumerate(known)}
    found = [at.get(spelled(name)) for name in names]
    return None if None in found else [place for place in found if place is not None]


def some(names: Sequence[str]) -> str:
    """The first of them, for a message."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
