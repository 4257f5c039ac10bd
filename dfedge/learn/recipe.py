"""Calibration recipes as data: TOML files in calibrate/, by name or by path."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dfedge import configs

Observer = Literal["minmax", "percentile", "mse"]


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How power-of-two scales are found from samples.

    Attributes:
        about: one sentence for people.
        activations: observer of each layer's activations.
        weights: observer of each layer's folded weights.
        percentile: of the magnitudes that must not saturate, where the observer is `percentile`.
        samples: training images that are looked at.
        seed: which ones.
    """

    about: str
    activations: Observer
    weights: Observer
    percentile: Annotated[float, Meta(gt=0, le=100)] = 100.0
    samples: Annotated[int, Meta(ge=1)] = 512
    seed: int = 0


DEFAULT_RECIPE = "pow2-mse"


def load_recipe(recipe: str) -> Recipe:
    """Read a recipe by name or by path (anything that ends in .toml).

    Raises:
        UsageError: no recipe of that name.
        DfedgeError: a file that is missing or is not a recipe.
    """
    path = configs.find(configs.folder("calibrate"), "recipe", recipe)
    return configs.read(path, Recipe, "calibration recipe")
