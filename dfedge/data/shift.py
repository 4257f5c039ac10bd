"""Shifts of the input that a device may meet after it left the bench: ``rotate:90``, ``invert``."""

from collections.abc import Callable

import numpy as np

from dfedge.data.dataset import Images
from dfedge.data.image import MODES
from dfedge.errors import DfedgeError, UsageError

Shift = Callable[[Images], Images]
FORMS = "rotate:DEGREES, invert, or several joined by '+'"


def parse_shift(text: str) -> Shift:
    """Read one or several shifts, ``rotate:90+invert``, into a function on images [N, H, W, C].

    Raises:
        UsageError: a form that does not exist.
    """
    steps = [_parse_one(part.strip(), text) for part in text.split("+")]

    def shift(x: Images) -> Images:
        for step in steps:
            x = step(x)
        return x

    return shift


def _parse_one(part: str, text: str) -> Shift:
    name, _, value = part.partition(":")
    if name == "invert" and not value:
        return lambda x: 255 - x
    if name == "rotate":
        try:
            degrees = float(value)
        except ValueError:
            degrees = np.nan
        if np.isfinite(degrees):
            return lambda x: rotate(x, degrees)
    raise UsageError(f"unknown shift '{text}'; known: {FORMS}")


def rotate(x: Images, degrees: float) -> Images:
    """Turn counter-clockwise; quarter turns of square images move pixels and change none."""
    quarters, rest = divmod(degrees, 90)
    if not rest and (x.shape[1] == x.shape[2] or quarters % 2 == 0):
        return np.ascontiguousarray(np.rot90(x, int(quarters), axes=(1, 2)))
    try:
        from PIL import Image
    except ImportError as error:
        raise DfedgeError(
            "turns by other than 90 degrees need Pillow; pip install Pillow"
        ) from error
    mode = MODES[x.shape[3]]
    turned = [
        np.asarray(
            Image.fromarray(one.squeeze(2) if mode == "L" else one).rotate(
                degrees, Image.Resampling.BILINEAR
            )
        ).reshape(one.shape)
        for one in x
    ]
    return np.stack(turned)
