"""A picture file as a person sees it: upright, opaque, 8 bits a channel, in sRGB.

What a file says beside its pixels is followed, or the file is refused by what it says:

    orientation     EXIF: turned and mirrored as a viewer does
    depth           16 bits a channel: brought to 8; real numbers: refused
    transparency    over white, as a page shows it
    colour          an ICC profile or a PNG's gamma: brought to sRGB; CMYK, palettes: converted
    more pictures   an animation: refused; of a camera's several pictures in one file the first
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dfedge.errors import DfedgeError, foreign
from dfedge.regular import open_file

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")
MAX_PIXELS = 1 << 25
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF tag, and its values that exchange height and width."""
DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
GREY = ("1", "L", "LA", "La", *DEEP)
"""Pillow's modes: of 16 bits a value, and all without colour."""
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
SRGB_GAMMA, SAME_GAMMA = 1 / 2.2, 0.02


def pillow(why: str) -> Any:
    """Pillow's module.

    Raises:
        DfedgeError: it is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise DfedgeError(f"{why}: that needs Pillow; pip install Pillow") from error
    return Image


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A Pillow image of one of our formats and of bounded size: its others run programs, or bombs.

    Raises:
        DfedgeError: anything else, and whatever goes wrong in the block.
    """
    image = pillow(f"{path} is an image")
    with (
        foreign(path, "an image"),
        open_file(path) as file,
        _recognised(image, path, file) as found,
    ):
        width, height = found.size
        if width * height > MAX_PIXELS:
            raise DfedgeError(f"{path}: {width} x {height} pixels; allowed: {MAX_PIXELS:,} in all")
        yield found


def _recognised(image: Any, path: Path, file: BinaryIO) -> Any:
    try:
        return image.open(file, formats=FORMATS)
    except image.UnidentifiedImageError as error:
        *most, last = FORMATS
        raise DfedgeError(
            f"{path}: cannot be read as an image (neither {', '.join(most)} nor {last}); replace "
            "it, or take it out of its folder"
        ) from error


def upright_size(image: Any) -> tuple[int, int]:
    """Width and height as they are seen."""
    width, height = image.size
    return (height, width) if image.getexif().get(ORIENTATION) in SIDEWAYS else (width, height)


def is_grey(image: Any) -> bool:
    """Whether the file holds no colour."""
    return image.mode in GREY


def seen(image: Any, path: Path) -> Any:
    """The picture in mode L or RGB.

    Raises:
        DfedgeError: an animation, or numbers that are no brightness.
    """
    from PIL import ImageOps

    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format != "MPO":
        raise DfedgeError(
            f"{path}: an animation of {count} pictures; allowed: one picture; save the one you mean"
        )
    if image.mode == "F":
        raise DfedgeError(f"{path}: real numbers; allowed: 8 or 16 bits a channel")
    grey, info = is_grey(image), dict(image.info)
    image = ImageOps.exif_transpose(image)
    if image.mode in DEEP:
        image = _eight_bits(image)
    if image.mode in TRANSPARENT or "transparency" in info:
        image = _over_white(image)
    elif info.get("icc_profile"):
        image = _in_srgb(image, info["icc_profile"])
    elif "gamma" in info and "srgb" not in info:
        image = _gamma_of_srgb(image, float(info["gamma"]))
    return image.convert("L" if grey else "RGB")


def _eight_bits(image: Any) -> Any:
    """Of 0..65535, rounded to nearest."""
    deep = np.asarray(image).astype(np.int64)
    return pillow("16 bits").fromarray(((deep.clip(0, 65535) + 128) // 257).astype(np.uint8))


def _over_white(image: Any) -> Any:
    made = pillow("transparency")
    image = image.convert("RGBA")
    return made.alpha_composite(made.new("RGBA", image.size, "white"), image).convert("RGB")


def _in_srgb(image: Any, profile: bytes) -> Any:
    """Colours by the file's own profile; one that cannot be read is skipped, as viewers do."""
    from PIL import ImageCms

    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(own).lower():
            return image
        wanted = ImageCms.createProfile("sRGB")
        plain = image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")
        return ImageCms.profileToProfile(plain, own, wanted, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image


def _gamma_of_srgb(image: Any, gamma: float) -> Any:
    """Of samples that are light to the power of ``gamma``."""
    if gamma <= 0 or abs(gamma - SRGB_GAMMA) < SAME_GAMMA or image.mode in ("1", "P"):
        return image
    table = np.round(255 * (np.arange(256) / 255) ** (SRGB_GAMMA / gamma)).astype(int).tolist()
    return image.point(table * len(image.getbands()))
