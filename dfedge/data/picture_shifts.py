"""Shifts of images: a camera that is turned, loses focus, grows noisy, or sees another light."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from dfedge.data.dataset import Images
from dfedge.data.image_arrays import through_pillow
from dfedge.data.picture import pillow


def invert(x: Images) -> Images:
    """The negative."""
    return 255 - x


def rotate(x: Images, degrees: float) -> Images:
    """Turn counter-clockwise; quarter turns of square images move pixels and change none."""
    quarters, rest = divmod(degrees, 90)
    if not rest and (x.shape[1] == x.shape[2] or quarters % 2 == 0):
        return np.ascontiguousarray(np.rot90(x, int(quarters), axes=(1, 2)))
    bilinear = pillow("a turn by other than 90 degrees").Resampling.BILINEAR
    return _each(x, lambda one: one.rotate(degrees, bilinear))


def blur(x: Images, radius: float) -> Images:
    """A lens out of focus: a Gaussian of so many pixels."""
    pillow("blur")
    from PIL import ImageFilter

    how = ImageFilter.GaussianBlur(float(radius))
    return _each(x, lambda one: one.filter(how))


def cast(x: Images, red: float, green: float, blue: float) -> Images:
    """Light of another colour: each of three channels times a number."""
    tinted = x * np.array([red, green, blue])
    return np.clip(np.round(tinted), 0, 255).astype(np.uint8)


def brightness(x: Images, share: float) -> Images:
    """A share of white is added; a negative one dims."""
    return np.clip(np.round(x + 255.0 * share), 0, 255).astype(np.uint8)


def noise(x: Images, levels: float) -> Images:
    """A sensor's noise, its standard deviation in grey levels; drawn anew for other images."""
    drawn = np.random.default_rng(zlib.crc32(x.tobytes())).normal(0, levels, x.shape)
    return np.clip(np.round(x + drawn), 0, 255).astype(np.uint8)


SHIFTS: dict[str, Callable[..., Images]] = {
    "rotate": rotate, "invert": invert, "blur": blur, "cast": cast,
    "brightness": brightness, "noise": noise,
}  # fmt: skip
"""Name -> what it makes of images uint8 [N, H, W, C] and its numbers."""


def _each(x: Images, change: Callable[[Any], Any]) -> Images:
    return np.stack([through_pillow(one, change, "this shift") for one in x])
