"""At what size a foreign net reads data: its own, wherever it has one."""

import logging

from dfedge.adoption.load import Model
from dfedge.data.catalogue import Catalogue
from dfedge.data.image_arrays import readable
from dfedge.data.inputs import InputRule
from dfedge.data.inputs.image import LARGEST, MOST, PHOTOS, ImageRule, ImageSurvey
from dfedge.data.inputs.window import described
from dfedge.data.sized import fit_of, rule_of_others, sides
from dfedge.data.stored import StoredSamples
from dfedge.errors import DfedgeError, UsageError

LOG = logging.getLogger(__name__)


def reading_rule(model: Model, data: Catalogue, image: str = "", fit: str = "") -> InputRule:
    """The rule by which a net reads data.

    Args:
        image: ``HxW``, for a net that has no size of its own; empty: that of the data.
        fit: one of `dfedge.data.inputs.image.Fit`; empty: the middle of pictures, and arrays
            stretched.

    Raises:
        UsageError: a size that is not the net's, or none where pictures have several.
        DfedgeError: a number of channels that the data have not, or a picture that cannot be read.
    """
    if data.kind != "image":
        train = data.part("train")[1]
        x = train.x if isinstance(train, StoredSamples) else None
        return rule_of_others(data, image, fit).sized(model.size, x)
    asked, way = sides(image), fit_of(fit)
    height, width, channels = model.size
    own = (height, width) if height and width else None
    if asked and own and asked != own:
        raise UsageError(
            f"--image {image}: {model.name} was made for {own[0]} x {own[1]}; leave --image out, "
            "or export the net for another size"
        )
    if own and max(own) > MOST:
        raise DfedgeError(
            f"{model.name} takes images of {own[0]} x {own[1]}; allowed: sides of at most {MOST:,} "
            "pixels"
        )
    found = data.look(channels)
    if channels and not readable(found.channels, channels):
        taken, instead = f"images of {channels} channels", f"an .npz with x [N, H, W, {channels}]"
        if width == 1 and height and height > 1:
            taken, instead = described(height, channels), "signals"
        raise DfedgeError(
            f"{model.name} takes {taken}, {data.name} has {found} with {found.channels}; give "
            f"{instead}"
        )
    rule = ImageRule(
        *(own or asked or _size_of(model, found)),
        channels or found.channels,
        way or (PHOTOS if found.pictures else "squash"),
    )
    if found.sizes != {(rule.width, rule.height)}:
        LOG.info("%s are read as %s", found, rule)
    if found.channels == 1 and rule.channels == 3:
        LOG.info("the images are grey; the net reads them as red, green and blue alike")
    return rule


def _size_of(model: Model, found: ImageSurvey) -> tuple[int, int]:
    width, height = next(iter(found.sizes))
    if found.pictures and (len(found.sizes) > 1 or max(width, height) > LARGEST):
        raise UsageError(
            f"{model.name} names no image size, and the data are {found}; give --image HxW, the "
            "size that the net was trained at"
        )
    return height, width
