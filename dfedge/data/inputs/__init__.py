"""Kinds of input, one file each; an installed package adds one by an entry point of `GROUP`."""

from typing import Any

import msgspec

from dfedge.data.inputs.image import ImageRule
from dfedge.data.inputs.rule import InputRule, to_input
from dfedge.data.inputs.window import WindowRule
from dfedge.plugins import Records

__all__ = ["GROUP", "KINDS", "InputRule", "decoded", "to_input"]

GROUP = "dfedge.inputs"
OWN: dict[str, type[InputRule]] = {"image": ImageRule, "window": WindowRule}
KINDS: Records[type[InputRule]] = Records(OWN, GROUP, type)
"""Kind -> its rule's class."""


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
    return msgspec.convert(given, found)
