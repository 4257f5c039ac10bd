"""How shifts are written: what help prints, the parser reads and the message for a wrong one names.

Pure data, so that ``--help`` needs neither NumPy nor Pillow; `dfedge.data.shift` applies them.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from dfedge.errors import UsageError, meant


class ShiftForm(NamedTuple):
    """How one kind of shift is written.

    Attributes:
        numbers: what each number after the name is.
        least: below which none of them may lie.
        still: what each of them is where nothing is changed.
    """

    numbers: tuple[str, ...] = ()
    least: float = -math.inf
    still: float = 0.0


IMAGES = {
    "rotate": ShiftForm(("DEGREES",)),
    "invert": ShiftForm(),
    "blur": ShiftForm(("RADIUS",), 0),
    "cast": ShiftForm(("RED", "GREEN", "BLUE"), 0, 1),
    "brightness": ShiftForm(("SHARE",), -1),
    "noise": ShiftForm(("LEVELS",), 0),
}
SIGNALS = {
    "gain": ShiftForm(("FACTOR",), still=1),
    "offset": ShiftForm(("SHARE",)),
    "noise": ShiftForm(("SHARE",), 0),
    "turn": ShiftForm(("DEGREES",)),
    "upside-down": ShiftForm(),
    "stretch": ShiftForm(("FACTOR",), 1 / 64, 1),
}
SOUNDS = {
    "noise": ShiftForm(("DECIBELS",), 0),
    "later": ShiftForm(("MS",)),
    "muffled": ShiftForm(("DECIBELS",), 0),
}
"""Name -> form; a share is of white, and of half a channel's range; decibels are below the loudest
cell."""


def listed(forms: Mapping[str, ShiftForm]) -> str:
    """All forms: ``rotate:DEGREES, invert, …, or several joined by '+'``."""
    words = (":".join((name, *form.numbers)) for name, form in forms.items())
    return f"{', '.join(words)}, or several joined by '+'"


def read(
    part: str, text: str, forms: Mapping[str, ShiftForm], samples: str
) -> tuple[str, list[float]]:
    """The name and the numbers of one shift of ``text``.

    Args:
        samples: what is shifted, in words.

    Raises:
        UsageError: a form that does not exist.
    """
    name, *given = part.split(":")
    form = forms.get(name)
    try:
        numbers = [float(one) for one in given]
    except ValueError:
        numbers = [math.nan]
    if (
        form is None
        or len(numbers) != len(form.numbers)
        or not all(math.isfinite(one) and one >= form.least for one in numbers)
    ):
        near = "" if form else meant(name, forms)
        raise UsageError(f"unknown shift '{text}' of {samples}{near}; known: {listed(forms)}")
    return name, numbers
