"""Images that came in an array: their values, and which of their axes are the channels.

[N, H, W, C] is read as it stands; [N, C, H, W], as torch has it, is turned.  Which of both it is, a
model's number of channels says; where there is no model yet, the axis of 1 or 3 is the channels,
else the one beside two sides that are equal, else the shorter.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Images
from dfedge.data.picture import pillow
from dfedge.errors import DfedgeError

LOG = logging.getLogger(__name__)
MODES = {1: "L", 3: "RGB"}
"""Channels of pictures -> Pillow's mode; other channels are in arrays alone."""
MOST_CHANNELS = 4096


def as_bytes(x: NDArray[Any], where: str) -> Images:
    """Check axes and value range: uint8 [N, H, W, C] or [N, C, H, W].

    Args:
        x: bytes 0..255 or floats 0..1; [N, H, W] has one channel.

    Raises:
        DfedgeError: with what was found and what is allowed.
    """
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or not x.size:
        raise DfedgeError(f"{where}: x has shape {x.shape}; allowed: [N, H, W] or [N, H, W, C]")
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


def channels_last(x: NDArray[Any], where: str, channels: int | None = None) -> NDArray[Any]:
    """Images [N, H, W, C] of those that may have their channels in front.

    Args:
        channels: of the model that reads them; None: there is none, and a guess is logged.
    """
    first, middle, last = x.shape[1:]
    known = MODES if channels is None or channels in MODES else (channels,)
    if first in known or last in known:
        turned = last not in known
    elif (first == middle) != (middle == last):
        turned = middle == last
    else:
        turned = first < last
    if turned and channels is None:
        LOG.info("%s: x %s is read as [N, C, H, W]: %d channels", where, list(x.shape), first)
    return np.moveaxis(x, 1, 3) if turned else x


def readable(found: int, wanted: int) -> bool:
    """Whether images of so many channels become ones of as many as wanted: grey and colour do."""
    return found == wanted or {found, wanted} <= MODES.keys()


def through_pillow(x: Images, change: Callable[[Any], Any], why: str) -> Images:
    """What Pillow makes of an image [H, W, C]: of grey and colour as a whole, else by channel.

    Args:
        change: of a Pillow image.
        why: begins the error's text where there is no Pillow.
    """
    image = pillow(why)
    if x.shape[2] == 3:
        return np.asarray(change(image.fromarray(x)), np.uint8)
    planes = (np.ascontiguousarray(x[..., c]) for c in range(x.shape[2]))
    return np.stack([np.asarray(change(image.fromarray(one)), np.uint8) for one in planes], -1)
