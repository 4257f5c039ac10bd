"""The one-pass form: goodness as the distance to a layer's own label anchors.

Each layer pools its output to p [B, d] and owns one anchor a class, A [K, d].  Its distance to
class k is ``d_k = |p - A_k|^2 / d`` (arXiv 2408.14925: the goodness of an input joined with a label
is the squared distance between the projected input and the projected label).  Distance sign: the
right label's distance is to be LOW.
"""

import math

import torch
from torch import Tensor, nn

from dfedge.int8.ops import ACTIVATION_MAX
from dfedge.int8.scales import INPUT_EXPONENT, LayerScales, score_exponent, score_shifts
from dfedge.learn.fake import quantise
from dfedge.learn.forms.loss import SMALLEST_SCALE, LayerLoss, judge
from dfedge.learn.forms.negatives import draw, remember
from dfedge.learn.lean import pool_cells
from dfedge.learn.spec import Loss
from dfedge.learn.units import Unit
from dfedge.maps import cell_grid, most_cells
from dfedge.plan import Shape

START = 4.0
"""Sharpness at first, in units of the anchors' separation: how far apart two logits are of a sample
that lies on one of the two anchors."""


def distances(p: Tensor, anchors: Tensor) -> Tensor:
    """Mean squared distance to every anchor: [B, d], [K, d] -> [B, K], in their own precision."""
    with torch.autocast(p.device.type, enabled=False):  # small differences of large products
        cross = p @ anchors.T
        squares = p.square().mean(1, keepdim=True), anchors.square().mean(1)
        return (squares[0] - 2 * cross / p.shape[1]) + squares[1]


def separation(anchors: Tensor) -> Tensor:
    """Mean over all pairs of the mean squared difference of two anchors: [K, d] -> scalar."""
    spread = (anchors - anchors.mean(0)).square().mean(1).sum()
    return (2 / max(len(anchors) - 1, 1) * spread).clamp(min=SMALLEST_SCALE)


class OnePass(nn.Module):
    """See `dfedge.learn.forms.Form`.

    Args:
        shapes: output shape of every unit.
        cells: per side, for every unit that has positions.
        classes: rows of the anchors.
        loss: of every layer.
    """

    extra_channels = 0

    def __init__(self, shapes: list[Shape], cells: int, classes: int, loss: Loss) -> None:
        super().__init__()
        self.loss = loss
        self.cells = [min(cells, most_cells((height, width))) for height, width, _ in shapes]
        self.scales: tuple[LayerScales, ...] | None = None
        self.anchors = nn.ParameterList(
            torch.zeros(classes, math.prod(cell_grid(shape[:2], cells)) * shape[2])
            for cells, shape in zip(self.cells, shapes, strict=True)
        )
        learned = [START] * len(shapes) if loss.kind == "softmax" else []
        self.log_sharpness = nn.ParameterList(torch.tensor([math.log(one)]) for one in learned)
        self.odds: Tensor
        self.register_buffer("odds", torch.ones(classes, classes))
        self.shown: Tensor | None = None

    def begin(self, x: Tensor, y: Tensor, generator: torch.Generator | None) -> Tensor:
        """Pixels as they are; the rivals of this batch are drawn where not all are shown."""
        if self.loss.negatives:
            assert generator is not None
            drawn = draw(y, self.loss.negatives, self._draw_odds(), generator)
            self.shown = torch.zeros(len(y), len(self.odds), dtype=torch.bool, device=y.device)
            self.shown.scatter_(1, drawn, True)
        return pixels(x).to(self.anchors[0].dtype)

    def _draw_odds(self) -> Tensor:
        return self.odds if self.loss.draw == "confusion" else torch.ones_like(self.odds)

    def features(self, i: int, h: Tensor) -> tuple[Tensor, Tensor]:
        """What layer i's anchors see, p [B, d], and its anchors [K, d]."""
        return self.rounded(i, pool_cells(wide(h), self.cells[i]))

    def rounded(self, i: int, p: Tensor) -> tuple[Tensor, Tensor]:
        """Layer i's p and anchors as the integer step has them, or as they are in float."""
        anchors = self.anchors[i]
        if self.scales is None:
            return p, anchors
        unit = 2.0 ** -self.scales[i].pooled
        return (
            quantise(p / unit, 0, ACTIVATION_MAX) * unit,
            quantise(anchors / unit, 0, ACTIVATION_MAX) * unit,
        )

    def labels(self, i: int) -> list[nn.Parameter]:
        """Layer i's anchors, and its sharpness where that is learned."""
        return [self.anchors[i], *self.log_sharpness[i : i + 1]]

    def sharpness(self, i: int) -> Tensor | float:
        """What layer i's distances count: 1, or learned, in units of its anchors' separation.

        Quantised, the power of two (but for the number of features) that the integer step has.
        """
        if not self.log_sharpness:
            return 1.0
        if self.scales is not None:
            features = self.anchors[i].shape[1]
            return features * 2.0 ** score_exponent(features, self.scales[i].sharpness)
        # Not detached, as in `dfedge.learn.forms.loss`: the same at every scale of a layer.
        return self.log_sharpness[i].exp() / separation(self.anchors[i])

    def weighted(self, i: int, p: Tensor, anchors: Tensor) -> Tensor:
        """What layer i adds to the cost of every class, [B, K]."""
        return distances(p, anchors) * self.sharpness(i)

    def judge(self, i: int, h: Tensor, y: Tensor) -> LayerLoss:
        """The layer's loss on its distances."""
        return self.judge_pooled(i, pool_cells(wide(h), self.cells[i]), y)

    def judge_pooled(self, i: int, pooled: Tensor, y: Tensor) -> LayerLoss:
        """Layer i's loss on what its anchors see."""
        p, anchors = self.rounded(i, pooled)
        judged = judge(self.weighted(i, p, anchors), y, self.loss, self.shown, anchors)
        if self.loss.draw == "confusion" and i == len(self.anchors) - 1:
            remember(self.odds, y, judged.rival, judged.violated)
        return judged

    def hand_on(self, i: int, unit: Unit, h: Tensor) -> Tensor:
        """The pool alone; the mean as the anchors see it."""
        if unit.block.mean:
            return self.features(i, h)[0][:, :, None, None].to(h.dtype)
        return unit.hand_on(h)

    def try_all(self, x: Tensor) -> Tensor:
        """Pixels as they are: one pass scores every class."""
        return pixels(x)

    def sample(self, x: Tensor) -> Tensor:
        """Pixels as they are."""
        return pixels(x)

    def costs(self, i: int, h: Tensor) -> Tensor:
        """The distances to all anchors, as they count."""
        return self.weighted(i, *self.features(i, h))

    def integer_scores(self, i: int, h: Tensor, counted: tuple[int, ...]) -> Tensor:
        """``2 p.A - |A|^2``, shifted to the scale that all counted layers share."""
        assert self.scales is not None
        shifts = score_shifts([a.shape[1] for a in self.anchors], self.scales, counted)
        unit = 2.0 ** self.scales[i].pooled
        p, anchors = (t.double() * unit for t in self.features(i, h))
        return (2 * p @ anchors.T - anchors.square().sum(1)) * 2.0 ** shifts[i]

    def right(self, cost: Tensor, y: Tensor) -> Tensor:
        """The nearest class is the label."""
        return cost.argmin(1) == y


def wide(h: Tensor) -> Tensor:
    """At least float32: goodness is never summed in bfloat16."""
    return h if h.dtype == torch.float64 else h.float()


def pixels(x: Tensor) -> Tensor:
    """Pixels 0..127 to real units."""
    return x.float() * 2.0**-INPUT_EXPONENT
