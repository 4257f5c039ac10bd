"""The rule that brings any image to a model's input: kept in the bundle, applied on every device.

0. a file is read as a viewer shows it (`dfedge.data.picture`);
1. grey or colour: by Pillow's luma weights (grey), or repeated over R, G and B; any other number
   of channels comes in arrays alone, and stays;
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
from dfedge.data.image_arrays import (
    MODES,
    MOST_CHANNELS,
    as_bytes,
    channels_last,
    readable,
    through_pillow,
)
from dfedge.data.inputs.rule import InC, InputRule, Shift
from dfedge.data.picture import SUFFIXES, is_grey, opened, pillow, seen, upright_size
from dfedge.data.picture_shifts import SHIFTS
from dfedge.data.shift_forms import IMAGES, ShiftForm
from dfedge.errors import DfedgeError, UsageError

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
    """The shape that a model reads: one channel is grey, three are red, green, blue; what others
    are, the data say.
    """

    height: Side
    width: Side
    channels: Annotated[int, Meta(ge=1, le=MOST_CHANNELS)]
    fit: Fit = "squash"

    sample: ClassVar[str] = "an image"
    samples: ClassVar[str] = "the images"
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES
    shifts: ClassVar[Mapping[str, ShiftForm]] = IMAGES
    drift: ClassVar[Mapping[str, str]] = {"rotate": "90"}

    @property
    def proposed(self) -> str:
        """A camera's photos change their light; nobody turns them by a right angle."""
        return "cast:0.6:1:1.3" if self.channels == 3 else super().proposed

    @property
    def shape(self) -> tuple[int, int, int]:
        """[H, W, C]."""
        return self.height, self.width, self.channels

    def read(self, path: Path) -> Images:
        """One image; see `InputRule`."""
        if self.channels not in MODES:
            raise DfedgeError(
                f"{path}: a picture has 1 channel (grey) or 3 (colour), the model reads "
                f"{self.channels}; give an .npz or .npy with x [N, H, W, {self.channels}]"
            )
        with opened(path) as image:
            return self._fit(seen(image, path).convert(MODES[self.channels]))[None]

    def apply(self, x: NDArray[Any], where: str) -> Images:
        """Images of any size, [N, H, W], [N, H, W, C] or [N, C, H, W], as uint8 of this shape.

        Raises:
            DfedgeError: another number of axes or channels, or values outside the range.
        """
        x = channels_last(as_bytes(x, where), where, self.channels)
        if x.shape[1:] == self.shape:
            return x
        found = x.shape[3]
        if not readable(found, self.channels):
            raise DfedgeError(
                f"{where}: x has images of {found} channels {list(x.shape)}; the model reads "
                f"[N, {', '.join(map(str, self.shape))}]"
            )
        if x.shape[1:3] != self.shape[:2]:
            LOG.info("%s: images of %d x %d are read as %s", where, *x.shape[1:3], self)
        why = f"{where} has images of {x.shape[1:]}, the model reads {self.shape}"
        return np.stack([self._one(image, why) for image in x])

    def _one(self, x: Images, why: str) -> Images:
        """An image [H, W, C] in this shape."""
        if x.shape[2] == self.channels:
            return through_pillow(x, self._sized, why)
        image = pillow(why).fromarray(x[..., 0] if x.shape[2] == 1 else x)
        return self._fit(image.convert(MODES[self.channels]))

    @classmethod
    def checked(cls, x: NDArray[Any], where: str) -> Images:
        """See `as_bytes`."""
        return as_bytes(x, where)

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
            f"One image of this size, bytes 0..255 [H, W, C], {self._colours}.",
            "void net_input(const uint8_t *image, int8_t *x)",
            "",
            f"    for (int32_t i = 0; i < {size}; i++) x[i] = (int8_t)(image[i] >> 1);",
        )

    def shift(self, name: str, numbers: list[float]) -> Shift:
        """See `InputRule`."""
        if name == "cast" and self.channels != 3:
            raise UsageError(f"a cast is for images of three channels; these have {self.channels}")
        change = SHIFTS[name]
        return lambda x: change(x, *numbers)

    def changed(self, x: Images, like: Images, seed: int = 0) -> Changed:
        """See `InputRule`."""
        return picture(x, seed) if is_picture(self.shape) else columns(x, like, seed)

    @property
    def _colours(self) -> str:
        """``red, green, blue``."""
        names = {1: "grey", 3: "red, green, blue"}
        return names.get(self.channels, f"its {self.channels} channels in the data's order")

    def _fit(self, image: Any) -> Images:
        return np.asarray(self._sized(image), np.uint8).reshape(self.shape)

    def _sized(self, image: Any) -> Any:
        """A Pillow image of this height and width."""
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
        return image

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


@dataclass(frozen=True)
class ImageSurvey:
    """What a first look at images shows.

    Attributes:
        sizes: that occur.
        channels: one where all are grey, three of pictures in colour.
        pictures: files, and no array.
    """

    sizes: frozenset[Size]
    channels: int
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
    return ImageSurvey(frozenset(sizes), 1 if grey else 3, pictures=True)


def seen_in(x: NDArray[Any], where: str, channels: int | None = None) -> ImageSurvey:
    """The size and the channels of images in an array.

    Args:
        channels: of the model that reads them, where there is one.

    Raises:
        DfedgeError: as `as_bytes`, or more channels than a model reads.
    """
    height, width, found = channels_last(as_bytes(x, where), where, channels).shape[1:]
    if found > MOST_CHANNELS or max(height, width) > MOST:
        raise DfedgeError(
            f"{where}: images of {height} x {width} x {found}; allowed: sides of at most {MOST:,} "
            f"and {MOST_CHANNELS:,} channels"
        )
    return ImageSurvey(frozenset({(width, height)}), found, pictures=False)


def common_rule(found: ImageSurvey) -> ImageRule:
    """The rule for images whose size is left to us: that of arrays; of pictures their own where
    they all share one of at most `LARGEST`, else `SMALL`; grey only where all are grey.
    """
    width, height = next(iter(found.sizes)) if len(found.sizes) == 1 else (SMALL, SMALL)
    if found.pictures and max(width, height) > LARGEST:
        width, height = SMALL, SMALL
    rule = ImageRule(height, width, found.channels, PHOTOS if found.pictures else "squash")
    largest = max(max(size) for size in found.sizes)
    if largest > 2 * max(width, height):
        LOG.info("%s are read as %s; --image HxW reads them larger", found, rule)
    return rule
