"""A mild change of a kind that devices meet, made from samples: what learning is tried on.

pictures    turned by 15 degrees, darker (7/10 of the brightness), noise of 8 grey levels
columns     of any other samples: each one's swing about its mean a fifth larger or smaller, its
            mean moved by a quarter of its standard deviation either way, noise of a tenth of that

`InputRule.changed` says which is of which kind of input; a kind may have one of its own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Images
from dfedge.data.picture_shifts import rotate
from dfedge.errors import DfedgeError

DEGREES, BRIGHTNESS, GREY_NOISE = 15, 0.7, 8.0
GAIN, OFFSET, NOISE = 0.2, 0.25, 0.1
Changed = tuple[Images, str]
"""Codes, all changed in the same way but for the noise; and that way in words."""


def is_picture(shape: tuple[int, int, int]) -> bool:
    """Whether images of shape [H, W, C] are pictures: both sides have at least 8 pixels and neither
    is twice the other.
    """
    short, long = sorted(shape[:2])
    return short >= 8 and long < 2 * short


def picture(x: Images, seed: int) -> Changed:
    """Of pictures [N, H, W, C]; ``seed``: of the noise."""
    try:
        turned, how = rotate(x, DEGREES), f"turned by {DEGREES} degrees, "
    except DfedgeError:  # no Pillow
        turned, how = x, ""
    return _noisy(turned * BRIGHTNESS, GREY_NOISE, seed), f"{how}darker, noise"


def columns(x: Images, like: Images, seed: int) -> Changed:
    """Of samples [N, H, W, C], a column being one place of [W, C].

    Args:
        like: samples of the same kind, that a column's mean and deviation are read off.
        seed: of the noise.
    """
    mean, deviation = like.mean((0, 1)), like.std((0, 1))
    up = np.random.default_rng(0).choice([-1, 1], (2, *mean.shape))
    moved = (x - mean) * (1 + GAIN * up[0]) + mean + OFFSET * deviation * up[1]
    return _noisy(moved, NOISE * deviation, seed), "gain and offset of each column, noise"


def _noisy(x: NDArray[Any], deviation: float | NDArray[Any], seed: int) -> Images:
    noise = np.random.default_rng([seed, 1]).normal(0, 1, x.shape) * deviation
    return np.clip(np.round(x + noise), 0, 255).astype(np.uint8)
