"""Shifts of the input that a device may meet after it left the bench: ``rotate:90``, ``invert``."""

from dfedge.data.dataset import Images
from dfedge.data.inputs import InputRule
from dfedge.data.inputs.rule import Shift
from dfedge.errors import UsageError


def parse_shift(text: str, rule: InputRule) -> Shift:
    """Read one or several shifts, ``rotate:90+invert``, into a function on codes [N, H, W, C].

    Args:
        rule: of the samples: each kind of input knows its own shifts.

    Raises:
        UsageError: a form that does not exist.
    """
    steps = [_parse_one(part.strip(), text, rule) for part in text.split("+")]

    def shift(x: Images) -> Images:
        for step in steps:
            x = step(x)
        return x

    return shift


def _parse_one(part: str, text: str, rule: InputRule) -> Shift:
    name, _, value = part.partition(":")
    try:
        found = rule.shift(name, value)
    except ValueError:
        found = None
    if found is None:
        forms = ", ".join(rule.shifts)
        raise UsageError(
            f"unknown shift '{text}' of {rule.samples}; known: {forms}, or several joined by '+'"
        )
    return found
