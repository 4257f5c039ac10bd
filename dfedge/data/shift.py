"""Shifts of the input that a device may meet after it left the bench: ``rotate:90``, ``gain:2``."""

from dfedge.data.dataset import Images
from dfedge.data.inputs import InputRule
from dfedge.data.inputs.rule import Shift
from dfedge.data.shift_forms import read


def parse_shift(text: str, rule: InputRule) -> Shift:
    """Read one or several shifts, ``rotate:90+invert``, into a function on codes [N, H, W, C].

    Args:
        rule: of the samples: each kind of input has its own shifts.

    Raises:
        UsageError: a form that does not exist, or that does not suit the samples.
    """
    parts = (read(part.strip(), text, rule.shifts, rule.samples) for part in text.split("+"))
    steps = [rule.shift(name, numbers) for name, numbers in parts]

    def shift(x: Images) -> Images:
        for step in steps:
            x = step(x)
        return x

    return shift
