"""The label-plane form: the image joined with one learned plane for a label, the paper's procedure.

The first unit sees u0 = [x ; E_k].  A layer's goodness is the mean square of its output h, energy
sign: the right label's goodness is to be HIGH.  What goes on is h divided by its root mean square,
so that the next layer cannot read the goodness off the norm.  Training shows the right label and N
wrong ones, inference tries all K.  (arXiv 2408.14925; one plane, at the first layer only, and the
normalisation are as public code of the Forward-Forward family does them.)
"""

import torch
from torch import Tensor, nn

from dfedge.learn.forms.loss import Judged, judge
from dfedge.learn.forms.negatives import draw, remember
from dfedge.learn.forms.onepass import pixels, wide
from dfedge.learn.spec import Loss, Shape
from dfedge.learn.units import Unit

EPSILON = 1e-6
PLANE_DEVIATION = 0.1


class LabelPlane(nn.Module):
    """See `dfedge.learn.forms.Form`; the batch of every layer is copy-major, [(1 + N) B, ...].

    Args:
        image: [H, W, C].
        layers: number of units.
        classes: number of planes.
        loss: of every layer; ``negatives`` 0 shows all wrong labels.
    """

    extra_channels = 1

    def __init__(self, image: Shape, layers: int, classes: int, loss: Loss) -> None:
        super().__init__()
        self.loss, self.layers = loss, layers
        self.planes = nn.Parameter(torch.randn(classes, 1, *image[:2]) * PLANE_DEVIATION)
        self.odds: Tensor
        self.register_buffer("odds", torch.ones(classes, classes))
        self.labels = torch.empty(0)

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
        return torch.cat([image, self.planes[labels.T.reshape(-1)]], 1)

    def goodness(self, h: Tensor, copies: int) -> Tensor:
        """Mean square of each copy: [M B, ...] -> [B, M]."""
        return wide(h).square().flatten(1).mean(1).reshape(copies, -1).T

    def judge(self, i: int, h: Tensor, y: Tensor) -> Judged:
        """The margin loss on energies; column 0 is the right label."""
        goodness = self.goodness(h, self.labels.shape[1])
        judged = judge(-goodness, torch.zeros_like(y), self.loss)
        if self.loss.draw == "confusion" and i == self.layers - 1:
            rival = self.labels.gather(1, judged.rival[:, None])[:, 0]
            remember(self.odds, y, rival, judged.violated)
        return judged

    def hand_on(self, unit: Unit, h: Tensor) -> Tensor:
        """Root-mean-square normalisation of every copy, then the pool."""
        size = h.square().flatten(1).mean(1).add(EPSILON).rsqrt()
        return unit.hand_on(h * size[:, None, None, None])

    def right(self, cost: Tensor, y: Tensor) -> Tensor:
        """The right label's goodness is the highest of those shown."""
        return cost.argmin(1) == 0
