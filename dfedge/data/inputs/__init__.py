"""Kinds of input, one file each; an installed package adds one by an entry point of `GROUP`."""

from threading import Lock
from typing import Any

import msgspec

from dfedge.data.inputs.image import ImageRule
from dfedge.data.inputs.rule import InputRule, Units, to_input
from dfedge.data.inputs.sound import SoundRule
from dfedge.data.inputs.window import WindowRule
from dfedge.errors import unknown_name
from dfedge.plugins import Records

__all__ = ["GROUP", "KINDS", "InputRule", "Units", "called", "decoded", "record_of", "to_input"]

GROUP = "dfedge.inputs"
OWN: dict[str, type[InputRule]] = {
    "image": ImageRule, "sound": SoundRule, "window": WindowRule,
}  # fmt: skip
KINDS: Records[type[InputRule]] = Records(OWN, GROUP, type)
"""Kind -> its rule's class."""


def record_of(kind: str) -> type[InputRule]:
    """A kind's rule's class.

    Raises:
        UsageError: no such kind.
    """
    found = KINDS.find(kind)
    if found is None:
        raise unknown_name("--input", kind, list(KINDS.all()))
    return found


def called(kind: str) -> str:
    """What samples of a kind are called: ``images``.

    Raises:
        UsageError: no such kind.
    """
    return record_of(kind).samples.removeprefix("the ")


_one = Lock()
"""msgspec crashes where two threads are the first to need one type, and a kind may be a plugin."""


def decoded(wanted: type, given: Any) -> Any:
    """msgspec's ``dec_hook``: an input rule of any kind.

    Raises:
        ValueError: no rule, or of a kind that is unknown here.
    """
    if wanted is not InputRule:
        raise NotImplementedError(wanted)
    kind = given.get("kind") if isinstance(given, dict) else None
    found = KINDS.find(kind) if isinstance(kind, str) else None
    if found is None:
        raise ValueError(f"input: kind {kind!r}; known: {', '.join(KINDS.all())}")
    with _one:
        return msgspec.convert(given, found)
