"""The label-plane form: the image joined with one learned plane for a label, the paper's procedure.

The first unit sees u0 = [x ; E_k].  A layer's goodness is the mean square of its output h, energy
sign: the right label's goodness is to be HIGH.  What goes on is h divided by its root mean square,
so that the next layer cannot read the goodness off the norm.  Training shows the right label and N
wrong ones, inference tries all K.  (arXiv 2408.14925; one plane, at the first layer only, and the
normalisation are as public code of the Forward-Forward family does them.)
"""

import math

import torch
from torch import Tensor, nn

from dfedge.int8.ops.energy import norm_limits
from dfedge.int8.ops.values import ACTIVATION_MAX, ENERGY_SHIFT
from dfedge.int8.scales import INPUT_EXPONENT, LayerScales, energy_shifts, norm_numerator
from dfedge.learn.fake import quantise
from dfedge.learn.forms.loss import LayerLoss, judge
from dfedge.learn.forms.negatives import draw, remember
from dfedge.learn.forms.onepass import pixels, wide
from dfedge.learn.spec import Loss
from dfedge.learn.units import Unit
from dfedge.plan import Shape

EPSILON = 1e-6
PLANE_DEVIATION = 0.1


class LabelPlane(nn.Module):
    """See `dfedge.learn.forms.Form`; the batch of every layer is copy-major, [(1 + N) B, ...].

    Args:
        image: [H, W, C].
        shapes: output shape of every unit.
        classes: number of planes.
        loss: of every layer; ``negatives`` 0 shows all wrong labels.
    """

    extra_channels = 1

    def __init__(self, image: Shape, shapes: list[Shape], classes: int, loss: Loss) -> None:
        super().__init__()
        self.loss, self.layers = loss, len(shapes)
        self.values = [math.prod(shape) for shape in shapes]
        self.planes = nn.Parameter(torch.randn(classes, 1, *image[:2]) * PLANE_DEVIATION)
        self.odds: Tensor
        self.register_buffer("odds", torch.ones(classes, classes))
        self.labels = torch.empty(0)
        self.scales: tuple[LayerScales, ...] | None = None

    def begin(self, x: Tensor, y: Tensor, generator: torch.Generator | None) -> Tensor:
        """Join the image with the right plane and with N wrong ones."""
        assert generator is not None
        count = self.loss.negatives or len(self.odds) - 1
        odds = self.odds if self.loss.draw == "confusion" else torch.ones_like(self.odds)
        wrong = draw(y, count, odds, generator)
        self.labels = torch.cat([y[:, None], wrong], 1)  # [B, 1 + N]
        return self.join(x, self.labels)

    def join(self, x: Tensor, labels: Tensor) -> Tensor:
        """[B, C, H, W], labels [B, M] -> [M B, C + 1, H, W]."""
        copies = labels.shape[1]
        image = pixels(x).repeat(copies, 1, 1, 1)
        planes = self.planes if self.scales is None else self._rounded() * 2.0**-INPUT_EXPONENT
        return torch.cat([image, planes[labels.T.reshape(-1)]], 1)

    def _rounded(self) -> Tensor:
        return quantise(self.planes * 2.0**INPUT_EXPONENT, -ACTIVATION_MAX, ACTIVATION_MAX)

    @torch.no_grad()
    def integer_planes(self) -> Tensor:
        """As the integer step has them, positive and negative part: int8 [K, H*W*2]."""
        planes = self._rounded().permute(0, 2, 3, 1)
        parts = torch.cat([planes, -planes], 3).clamp(min=0)
        return parts.reshape(len(planes), -1).to(torch.int8)

    def try_all(self, x: Tensor) -> Tensor:
        """A copy for every label."""
        every = torch.arange(len(self.planes), device=x.device)
        return self.join(x, every.expand(len(x), -1))

    def sample(self, x: Tensor) -> Tensor:
        """One copy a sample, labels in turn."""
        turn = torch.arange(len(x), device=x.device) % len(self.planes)
        return self.join(x, turn[:, None])

    def costs(self, i: int, h: Tensor) -> Tensor:
        """Goodness, turned into a cost."""
        return -self.goodness(h, len(self.planes))

    def _energy(self, i: int, h: Tensor) -> Tensor:
        """Integer energy of each map, [M]."""
        assert self.scales is not None
        return (h.double() * 2.0 ** self.scales[i].output).square().flatten(1).sum(1)

    def integer_scores(self, i: int, h: Tensor, counted: tuple[int, ...]) -> Tensor:
        """Energies in the units that all layers share, counted or not."""
        assert self.scales is not None
        shifts = energy_shifts(self.values, [s.output for s in self.scales])
        unit = torch.floor(self._energy(i, h) * 2.0 ** -(ENERGY_SHIFT + shifts[i]))
        return unit.reshape(len(self.planes), -1).T

    def goodness(self, h: Tensor, copies: int) -> Tensor:
        """Mean square of each copy: [M B, ...] -> [B, M]."""
        return wide(h).square().flatten(1).mean(1).reshape(copies, -1).T

    def judge(self, i: int, h: Tensor, y: Tensor) -> LayerLoss:
        """The margin loss on energies; column 0 is the right label."""
        goodness = self.goodness(h, self.labels.shape[1])
        judged = judge(-goodness, torch.zeros_like(y), self.loss)
        if self.loss.draw == "confusion" and i == self.layers - 1:
            rival = self.labels.gather(1, judged.rival[:, None])[:, 0]
            remember(self.odds, y, rival, judged.violated)
        return judged

    def hand_on(self, i: int, unit: Unit, h: Tensor) -> Tensor:
        """Root-mean-square normalisation of every copy, then the pool."""
        if self.scales is None:
            size = h.square().flatten(1).mean(1).add(EPSILON).rsqrt()
            return unit.hand_on(h * size[:, None, None, None])
        own = self.scales[i]
        norm = norm_numerator(h[0].numel(), own.handed, own.norm_shift)
        limits = norm_limits(norm).to(h.device)
        m = (self._energy(i, h)[:, None] <= limits).sum(1).to(h.dtype)
        scaled = h * m[:, None, None, None] * 2.0 ** (own.output - own.norm_shift)
        return unit.hand_on(quantise(scaled, 0, ACTIVATION_MAX) * 2.0**-own.handed)

    def right(self, cost: Tensor, y: Tensor) -> Tensor:
        """The right label's goodness is the highest of those shown."""
        return cost.argmin(1) == 0
