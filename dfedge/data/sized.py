"""At what size images are read: what a person asks for, what a model was made for, or their own."""

from typing import get_args

from msgspec.structs import replace

from dfedge.data.catalogue import Catalogue
from dfedge.data.inputs import InputRule, called
from dfedge.data.inputs.image import MOST, PHOTOS, Fit, ImageRule, common_rule
from dfedge.errors import UsageError, chosen


def rule_for(data: Catalogue, image: str = "", fit: str = "", features: str = "") -> InputRule:
    """The rule by which a model that is yet to be trained reads data.

    Args:
        data: cut in train and test; the rule of signals is made of the training samples.
        image: ``HxW``; empty: as `common_rule` says.
        fit: one of `Fit`; empty: the middle of pictures, and arrays as they are.
        features: that the model is fed (`InputRule.known_features`); empty: samples as they are.

    Raises:
        UsageError: another word, a size for samples that are not images, or unknown features.
        DfedgeError: samples that cannot be read.
    """
    wanted, way = sides(image), fit_of(fit)
    if data.kind != "image":
        return rule_of_others(data, image, fit, features)
    if features:
        ImageRule.known(features)
    found = data.look()
    if wanted is None:
        rule = common_rule(found)
        return replace(rule, fit=way) if way else rule
    return ImageRule(*wanted, found.channels, way or PHOTOS)


def rule_of_others(data: Catalogue, image: str, fit: str, features: str = "") -> InputRule:
    """The rule of data that are no images.

    Raises:
        UsageError: a size or a fit is asked for, or features that the data have not.
        DfedgeError: samples that cannot be read.
    """
    if image or fit:
        raise UsageError(
            f"--image and --fit are of pictures; {data.name} holds {called(data.kind)}"
        )
    return data.own_rule(features)


def fit_of(word: str) -> Fit | None:
    """Read --fit; None where it is empty.

    Raises:
        UsageError: another word.
    """
    if not word:
        return None
    known: tuple[Fit, ...] = get_args(Fit)
    return chosen("--fit", word, known)


def sides(image: str) -> tuple[int, int] | None:
    """Read ``224x224``, or ``224`` for both: height and width; None where it is empty.

    Raises:
        UsageError: something else.
    """
    if not image:
        return None
    parts = image.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and 1 <= int(part) <= MOST for part in parts):
        raise UsageError(
            f"--image {image}: allowed: HEIGHTxWIDTH in pixels, as 224x224, each from 1 to {MOST}"
        )
    return int(parts[0]), int(parts[-1])
