"""Shifts of the input that a device may meet after it left the bench: ``rotate:90``, ``gain:2``."""

from dfedge.data.dataset import Images
from dfedge.data.inputs import InputRule
from dfedge.data.inputs.rule import Shift
from dfedge.data.shift_forms import read


def check_shift(text: str, kind: type[InputRule]) -> list[tuple[str, list[float]]]:
    """The names and numbers of one or several shifts, where there is no rule yet.

    Raises:
        UsageError: a form that samples of this kind do not have.
    """
    return [read(part.strip(), text, kind.shifts, kind.samples) for part in text.split("+")]


def parse_shift(text: str, rule: InputRule) -> Shift:
    """Read one or several shifts, ``rotate:90+invert``, into a function on codes [N, H, W, C].

    Args:
        rule: of the samples: each kind of input has its own shifts.

    Raises:
        UsageError: a form that does not exist, or that does not suit the samples.
    """
    steps = [rule.shift(name, numbers) for name, numbers in check_shift(text, type(rule))]

    def shift(x: Images) -> Images:
        for step in steps:
            x = step(x)
        return x

    return shift
