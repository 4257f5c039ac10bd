"""The rule that brings any image to a model's input: kept in the bundle, applied on every device.

1. grey or colour: by Pillow's luma weights (grey), or repeated over R, G and B;
2. size: resized to height x width (Pillow, bilinear) where it differs;
3. values: bytes 0..255 as they are, floats in 0..1 times 255; the program is fed ``byte >> 1``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from dfedge.data.dataset import Images
from dfedge.errors import DfedgeError, foreign
from dfedge.regular import open_file

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")
MAX_PIXELS = 1 << 25
MODES = {1: "L", 3: "RGB"}
Side = Annotated[int, Meta(ge=1, le=4096)]


class ImageRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape that a model reads: one channel is grey, three are red, green, blue."""

    height: Side
    width: Side
    channels: Annotated[int, Meta(ge=1, le=3)]

    def __post_init__(self) -> None:
        if self.channels not in MODES:
            raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {self.channels}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """[H, W, C]."""
        return self.height, self.width, self.channels

    def read(self, path: Path) -> Images:
        """One image file as uint8 [H, W, C].

        Raises:
            DfedgeError: not an image that Pillow can read.
        """
        with _open(path) as opened:
            return self._fit(opened.convert(MODES[self.channels]))

    def apply(self, x: NDArray[Any], where: str) -> Images:
        """Images of any size, [N, H, W] or [N, H, W, C], as uint8 of this rule's shape.

        Raises:
            DfedgeError: another number of axes or channels, or values outside the range.
        """
        x = as_images(x, where)
        if x.shape[1:] == self.shape:
            return x
        image = _pillow(f"{where} has images of {x.shape[1:]}, the model reads {self.shape}")
        mode = MODES[self.channels]
        fitted = [
            self._fit(image.fromarray(one[..., 0] if one.shape[2] == 1 else one).convert(mode))
            for one in x
        ]
        return np.stack(fitted)

    def _fit(self, image: Any) -> Images:
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), _pillow("resizing").Resampling.BILINEAR)
        return np.asarray(image, np.uint8).reshape(self.shape)


def as_images(x: NDArray[Any], where: str) -> Images:
    """Check axes, channels and value range: uint8 [N, H, W, C], C being 1 or 3.

    Raises:
        DfedgeError: with what was found and what is allowed.
    """
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.shape[3] not in MODES or not x.size:
        raise DfedgeError(
            f"{where}: x has shape {x.shape}; allowed: [N, H, W], [N, H, W, 1] or [N, H, W, 3]"
        )
    if x.dtype == np.uint8:
        return x
    integers = np.issubdtype(x.dtype, np.integer)
    if not integers and not np.issubdtype(x.dtype, np.floating):
        raise DfedgeError(f"{where}: x holds {x.dtype}; allowed: bytes 0 to 255 or floats 0 to 1")
    high = 255 if integers else 1
    low_found, high_found = x.min(), x.max()
    if not (low_found >= 0 and high_found <= high):
        raise DfedgeError(
            f"{where}: x ({x.dtype}) reaches from {low_found} to {high_found}; allowed: 0 to {high}"
        )
    return (x if integers else np.round(x * 255.0)).astype(np.uint8)


def to_input(x: Images) -> NDArray[np.int8]:
    """What the integer programs are fed: int8 0..127, standing for value / 2^7."""
    return (x >> 1).astype(np.int8)


def _pillow(why: str) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise DfedgeError(f"{why}: that needs Pillow; pip install Pillow") from error
    return Image


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """A Pillow image of one of our formats and of bounded size: its others run programs, or bombs.

    Raises:
        DfedgeError: anything else, and whatever goes wrong in the block.
    """
    image = _pillow(f"{path} is an image")
    with (
        foreign(path, "an image"),
        open_file(path) as file,
        image.open(file, formats=FORMATS) as opened,
    ):
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise DfedgeError(f"{path}: {width} x {height} pixels; allowed: {MAX_PIXELS:,} in all")
        yield opened


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)


def common_rule(files: list[Path]) -> ImageRule:
    """The rule for a folder of images: their own size where they all share one of at most 64,
    else 32 x 32; grey only where all are grey.

    Raises:
        DfedgeError: a file that is no image.
    """
    sizes, grey = set(), True
    for path in files:
        with _open(path) as opened:
            sizes.add(opened.size)
            grey = grey and opened.mode in ("1", "L", "LA", "I", "I;16")
    width, height = sizes.pop() if len(sizes) == 1 else (32, 32)
    if max(width, height) > 64:
        width, height = 32, 32
    return ImageRule(height, width, 1 if grey else 3)
