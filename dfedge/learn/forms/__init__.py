"""The two forms of a Distance-Forward layer: where the label enters, and what goodness is.

``one-pass``: the trunk carries no label, every layer owns one anchor a class, its goodness is the
distance to it and every class is scored in one pass.  ``label-plane``: the label is joined with the
image, as the paper does it, and one pass scores one class.  A form says what a layer's loss is; a
rule (`dfedge.learn.rules`) says how far its gradient reaches.
"""

from typing import Protocol

import torch
from torch import Tensor

from dfedge.int8.scales import LayerScales
from dfedge.learn.forms.loss import LayerLoss
from dfedge.learn.units import Unit
from dfedge.plan import Form as FormName

FORMS: tuple[FormName, ...] = ("one-pass", "label-plane")


class Form(Protocol):
    """A form's own parameters and its three places in a net's forward pass."""

    extra_channels: int
    """What the first unit sees beside the image's channels."""
    scales: tuple[LayerScales, ...] | None
    """Set: as the integer step has it."""

    def begin(self, x: Tensor, y: Tensor, generator: torch.Generator | None) -> Tensor:
        """From pixels 0..127 [B, C, H, W] and labels to the first unit's input."""
        ...

    def judge(self, i: int, h: Tensor, y: Tensor) -> LayerLoss:
        """Layer i's loss on its output h."""
        ...

    def hand_on(self, i: int, unit: Unit, h: Tensor) -> Tensor:
        """From layer i's h to the next unit's input, with its graph."""
        ...

    def try_all(self, x: Tensor) -> Tensor:
        """From pixels to the first unit's input when all classes are to be scored."""
        ...

    def sample(self, x: Tensor) -> Tensor:
        """From pixels to what the first unit typically sees: what scales are chosen on."""
        ...

    def costs(self, i: int, h: Tensor) -> Tensor:
        """Layer i's cost of every class after `try_all`, [B, K]."""
        ...

    def integer_scores(self, i: int, h: Tensor, counted: tuple[int, ...]) -> Tensor:
        """The integer step's part of a score from layer i's h (float64, quantised), [B, K].

        ``counted``: the layers that are summed.
        """
        ...

    def right(self, cost: Tensor, y: Tensor) -> Tensor:
        """Which samples the summed costs [B, K'] get right, bool [B]."""
        ...
