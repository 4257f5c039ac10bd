"""The rule that brings any image to a model's input: kept in the bundle, applied on every device.

0. a file is read as a viewer shows it (`dfedge.data.picture`);
1. grey or colour: by Pillow's luma weights (grey), or repeated over R, G and B;
2. size: brought to height x width where it differs, in proportion or not (`Fit`), by Pillow's
   bilinear kernel, which widens as an image shrinks;
3. values: bytes 0..255 as they are, floats in 0..1 times 255; the program is fed ``byte >> 1``.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from dfedge.data.change import Changed, columns, is_picture, picture
from dfedge.data.dataset import Images
from dfedge.data.inputs.rule import InC, InputRule, Shift
from dfedge.data.picture import SUFFIXES, is_grey, opened, pillow, seen, upright_size
from dfedge.data.picture_shifts import SHIFTS
from dfedge.data.shift_forms import IMAGES, ShiftForm
from dfedge.errors import DfedgeError, UsageError

MODES = {1: "L", 3: "RGB"}
SMALL, LARGEST = 32, 64
"""Sides that pictures of several sizes are read at, and the longest that is kept as it is."""
LOG = logging.getLogger(__name__)
MOST = 4096
Side = Annotated[int, Meta(ge=1, le=MOST)]
Fit = Literal["crop", "pad", "squash"]
"""The largest part in the middle of the wanted proportions; the whole with black beside it; or the
whole, stretched."""
PHOTOS: Fit = "crop"
"""How pictures in a folder are read where nothing else is asked for."""


class ImageRule(
    InputRule, msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind",
    tag="image",
):  # fmt: skip
    """The shape that a model reads: one channel is grey, three are red, green, blue."""

    height: Side
    width: Side
    channels: Annotated[int, Meta(ge=1, le=3)]
    fit: Fit = "squash"

    sample: ClassVar[str] = "an image"
    samples: ClassVar[str] = "the images"
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES
    shifts: ClassVar[Mapping[str, ShiftForm]] = IMAGES
    drift: ClassVar[Mapping[str, str]] = {"rotate": "90"}

    @property
    def proposed(self) -> str:
        """A camera's photos change their light; nobody turns them by a right angle."""
        return super().proposed if self.channels == 1 else "cast:0.6:1:1.3"

    def __post_init__(self) -> None:
        if self.channels not in MODES:
            raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {self.channels}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """[H, W, C]."""
        return self.height, self.width, self.channels

    def read(self, path: Path) -> Images:
        """One image; see `InputRule`."""
        with opened(path) as image:
            return self._fit(seen(image, path).convert(MODES[self.channels]))[None]

    def apply(self, x: NDArray[Any], where: str) -> Images:
        """Images of any size, [N, H, W] or [N, H, W, C], as uint8 of this rule's shape.

        Raises:
            DfedgeError: another number of axes or channels, or values outside the range.
        """
        x = as_images(x, where)
        if x.shape[1:] == self.shape:
            return x
        image = pillow(f"{where} has images of {x.shape[1:]}, the model reads {self.shape}")
        if x.shape[1:3] != self.shape[:2]:
            LOG.info("%s: images of %d x %d are read as %s", where, *x.shape[1:3], self)
        mode = MODES[self.channels]
        fitted = [
            self._fit(image.fromarray(one[..., 0] if one.shape[2] == 1 else one).convert(mode))
            for one in x
        ]
        return np.stack(fitted)

    @classmethod
    def checked(cls, x: NDArray[Any], where: str) -> Images:
        """See `as_images`."""
        return as_images(x, where)

    @classmethod
    def suited(cls, x: NDArray[Any], names: Sequence[str] = ()) -> "ImageRule":
        """Their own size and channels; see `InputRule`."""
        return common_rule(seen_in(x, "the images"))

    @classmethod
    def of_files(cls, files: Sequence[Path]) -> "ImageRule":
        """See `common_rule`."""
        return common_rule(look_at(files))

    @classmethod
    def try_file(cls, path: Path) -> None:
        """See `InputRule`."""
        with opened(path) as image:
            seen(image, path)

    @classmethod
    def unusable(cls, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Values outside 0..255 (integers) or 0..1 (floats); NaN is outside."""
        axes = tuple(range(1, x.ndim))
        if x.dtype == np.uint8 or not np.issubdtype(x.dtype, np.number) or np.iscomplexobj(x):
            return np.zeros(len(x), bool)
        high = 255 if np.issubdtype(x.dtype, np.integer) else 1
        return np.asarray(~((x >= 0) & (x <= high)).all(axis=axes))

    def in_c(self) -> InC:
        """Of bytes in this size: see `InputRule`."""
        size = " * ".join(map(str, self.shape))
        return InC(
            (),
            "One image, bytes 0..255 [H, W, C], grey or red, green, blue, of this size.",
            "void net_input(const uint8_t *image, int8_t *x)",
            "",
            f"    for (int32_t i = 0; i < {size}; i++) x[i] = (int8_t)(image[i] >> 1);",
        )

    def shift(self, name: str, numbers: list[float]) -> Shift:
        """See `InputRule`."""
        if name == "cast" and self.channels != 3:
            raise UsageError("a cast is for images of three channels; these have one")
        change = SHIFTS[name]
        return lambda x: change(x, *numbers)

    def changed(self, x: Images, like: Images, seed: int = 0) -> Changed:
        """See `InputRule`."""
        return picture(x, seed) if is_picture(self.shape) else columns(x, like, seed)

    def _fit(self, image: Any) -> Images:
        wanted = self.width, self.height
        if image.size != wanted:
            box = _middle(image.size, wanted) if self.fit == "crop" else None
            inner = _within(image.size, wanted) if self.fit == "pad" else wanted
            pil = pillow("resizing")
            image = image.resize(inner, pil.Resampling.BILINEAR, box)
            if inner != wanted:
                whole = pil.new(image.mode, wanted)
                whole.paste(image, tuple((w - i) // 2 for w, i in zip(wanted, inner, strict=True)))
                image = whole
        return np.asarray(image, np.uint8).reshape(self.shape)

    def __str__(self) -> str:
        """``224 x 224 (crop)``."""
        return f"{self.height} x {self.width} ({self.fit})"


Size = tuple[int, int]
"""Width and height, as Pillow has them."""


def _middle(size: Size, wanted: Size) -> tuple[float, float, float, float]:
    """The largest box of the wanted proportions: left, upper, right, lower."""
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    width, height = scale * wanted[0], scale * wanted[1]
    left, upper = (size[0] - width) / 2, (size[1] - height) / 2
    return left, upper, left + width, upper + height


def _within(size: Size, wanted: Size) -> Size:
    """The largest size of the image's own proportions that fits."""
    scale = min(wanted[0] / size[0], wanted[1] / size[1])
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


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


@dataclass(frozen=True)
class ImageSurvey:
    """What a first look at images shows.

    Attributes:
        sizes: that occur.
        grey: whether all are.
        pictures: files, and no array.
    """

    sizes: frozenset[Size]
    grey: bool
    pictures: bool

    def __str__(self) -> str:
        """``pictures of 64 x 64 to 480 x 640 pixels``, height by width."""
        ends = sorted(self.sizes, key=lambda size: size[0] * size[1])
        shown = [f"{height} x {width}" for width, height in dict.fromkeys((ends[0], ends[-1]))]
        return f"{'pictures' if self.pictures else 'images'} of {' to '.join(shown)} pixels"


def look_at(files: Sequence[Path]) -> ImageSurvey:
    """Sizes and colours of image files.

    Raises:
        DfedgeError: a file that is not an image.
    """
    sizes, grey = set[Size](), True
    for path in files:
        with opened(path) as image:
            sizes.add(upright_size(image))
            grey = grey and is_grey(image)
    return ImageSurvey(frozenset(sizes), grey, pictures=True)


def seen_in(x: NDArray[Any], where: str) -> ImageSurvey:
    """The size and colour of images in an array; see `as_images`.

    Raises:
        DfedgeError: as `as_images`.
    """
    height, width, channels = as_images(x, where).shape[1:]
    return ImageSurvey(frozenset({(width, height)}), channels == 1, pictures=False)


def common_rule(found: ImageSurvey) -> ImageRule:
    """The rule for images whose size is left to us: that of arrays; of pictures their own where
    they all share one of at most `LARGEST`, else `SMALL`; grey only where all are grey.
    """
    width, height = next(iter(found.sizes)) if len(found.sizes) == 1 else (SMALL, SMALL)
    if found.pictures and max(width, height) > LARGEST:
        width, height = SMALL, SMALL
    rule = ImageRule(height, width, 1 if found.grey else 3, PHOTOS if found.pictures else "squash")
    largest = max(max(size) for size in found.sizes)
    if largest > 2 * max(width, height):
        LOG.info("%s are read as %s; --image HxW reads them larger", found, rule)
    return rule
