"""What changes between the bench and the device, drawn for each cell of `harm.py` as a short text.

rotate:37   light:1.3:-20   blur:1.2   noise:25   invert   cast:0.6:1:1.2   zoom:1.4   (images)
columns:7            a gain, an offset and noise of every column's own (vectors)
speaker:theo  person:3                                 whoever was left out (speech and watch)
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dfedge.data.dataset import Images
from dfedge.data.fsdd import SPEAKERS
from dfedge.data.image_arrays import MODES
from dfedge.data.inputs.image import ImageRule
from dfedge.data.picture_shifts import SHIFTS
from dfedge.data.shift import parse_shift

PEOPLE = 10


def _light(x: Images, gain: float, offset: float) -> Images:
    return _bytes((x.astype(np.float64) - 128) * gain + 128 + offset)


def _bytes(x: NDArray[np.float64]) -> Images:
    return np.clip(np.round(x), 0, 255).astype(np.uint8)


def _each(x: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    mode = MODES[x.shape[3]]
    pictures = [Image.fromarray(one.squeeze(2) if mode == "L" else one) for one in x]
    return np.stack([np.asarray(change(one), np.uint8).reshape(x.shape[1:]) for one in pictures])


def _zoom(x: Images, factor: float) -> Images:
    height, width = x.shape[1:3]
    off_y, off_x = (height * (1 - 1 / factor) / 2, width * (1 - 1 / factor) / 2)
    box = (1 / factor, 0.0, off_x, 0.0, 1 / factor, off_y)
    how = Image.Resampling.BILINEAR
    return _each(x, lambda one: one.transform(one.size, Image.Transform.AFFINE, box, how))


def _columns(x: Images, drawn: int, seed: int) -> Images:
    r = np.random.default_rng(drawn)
    gain, offset = r.uniform(0.6, 1.4, x.shape[2]), r.uniform(-40, 40, x.shape[2])
    noise = np.random.default_rng([drawn, seed]).normal(0, 8, x.shape[:3])
    return _bytes(x[..., 0] * gain + offset + noise)[..., None]


def shifted(x: Images, shift: str, seed: int) -> Images:
    """Images [N, H, W, C] as they are under a shift; noise is drawn from the seed."""
    name, *numbers = shift.split(":")
    if name == "columns":
        return _columns(x, int(numbers[0]), seed)
    if name in SHIFTS:
        return parse_shift(shift, ImageRule(*x.shape[1:]))(x)
    values = [float(v) for v in numbers]
    match name:
        case "light":
            return _light(x, *values)
        case "noise":
            return _bytes(x + np.random.default_rng(seed).normal(0, values[0], x.shape))
        case "zoom":
            return _zoom(x, values[0])
    raise ValueError(f"unknown shift {shift}")


IMAGE_SHIFTS = ("rotate", "light", "blur", "noise", "invert", "zoom", "cast")


def drawn(group: str, number: int, shape: tuple[int, int, int], r: np.random.Generator) -> str:
    """A shift for the group's cell of that number: forms come in turn, their strength is drawn."""
    if group == "speech":
        return f"speaker:{SPEAKERS[number % len(SPEAKERS)]}"
    if group == "watch":
        return f"person:{number % PEOPLE}"
    if group == "vectors":
        return f"columns:{r.integers(1000)}"
    forms = IMAGE_SHIFTS if shape[2] == 3 else IMAGE_SHIFTS[:-1]
    match form := forms[number % len(forms)]:
        case "rotate":
            return f"rotate:{r.integers(15, 91)}"
        case "light":
            return f"light:{r.uniform(0.5, 1.5):.2f}:{r.integers(-50, 51)}"
        case "blur":
            return f"blur:{max(0.7, r.uniform(0.02, 0.05) * shape[0]):.2f}"
        case "noise":
            return f"noise:{r.integers(15, 46)}"
        case "zoom":
            return f"zoom:{r.choice([0.6, 0.7, 1.4, 1.6]):.1f}"
        case "cast":
            return "cast:" + ":".join(f"{v:.2f}" for v in r.uniform(0.4, 1.4, 3))
    return form
