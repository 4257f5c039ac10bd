"""The net on the host: float, or fake-quantised with the integer step's own scales and rounding.

Quantised, every tensor holds integers times a power of two (so float arithmetic on them is the
integers' own), batch normalisation is folded with its running statistics, and what is rounded
passes its gradient straight through; `Net.scores` then equals the integer step's exactly.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dfedge.int8.ops import ACTIVATION_MAX
from dfedge.int8.scales import INPUT_EXPONENT, Scales, score_shifts
from dfedge.learn.fake import quantise
from dfedge.learn.forms import Form
from dfedge.learn.forms.labelplane import LabelPlane
from dfedge.learn.forms.loss import Judged
from dfedge.learn.forms.onepass import OnePass, distances, pixels
from dfedge.learn.lean import read
from dfedge.learn.spec import NetSpec, Shape
from dfedge.learn.units import ConvNorm, Unit

BIAS_MAX = 1 << 30


class Net(nn.Module):
    """A sequence of local learning units under one form.

    Args:
        spec: the blocks.
        image: [H, W, C] of the input.
        classes: number of classes.
        form: ``one-pass`` or ``label-plane``.

    Attributes:
        counted: the layers whose goodness counts in a score.
        weight_bits: width of the quantised weights.
        lean: strictly local float training keeps one map a layer (`dfedge.learn.lean`).
    """

    def __init__(self, spec: NetSpec, image: Shape, classes: int, form: str = "one-pass") -> None:
        super().__init__()
        self.spec, self.image, self.classes = spec, image, classes
        shapes = spec.shapes(image)
        self._scales: tuple[Scales, ...] | None = None
        self.weight_bits = 8
        self.lean = False
        self.plane = form == "label-plane"
        self.counted = tuple(range(len(shapes)))
        extra = LabelPlane.extra_channels if self.plane else 0
        self.layers = nn.ModuleList()
        for i, (block, (seen, _)) in enumerate(zip(spec.blocks(), shapes, strict=True)):
            wider = (seen[0], seen[1], seen[2] + (extra if i == 0 else 0))
            self.layers.append(Unit(block, wider))
        self.form: Form
        if self.plane:
            self.form = LabelPlane(image, len(shapes), classes, spec.plane)
        else:
            self.form = OnePass([out for _, out in shapes], spec.anchors, classes, spec.loss)

    @property
    def units(self) -> list[Unit]:
        """The layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, Unit)]

    @property
    def one_pass(self) -> OnePass:
        """The form of a net that has anchors."""
        assert isinstance(self.form, OnePass)
        return self.form

    @property
    def scales(self) -> tuple[Scales, ...] | None:
        """Set: the net is fake-quantised."""
        return self._scales

    @scales.setter
    def scales(self, scales: tuple[Scales, ...] | None) -> None:
        self._scales = scales
        self.one_pass.exponents = [s.activation for s in scales] if scales else None

    def input_exponent(self, i: int) -> int:
        """Of what layer i receives."""
        assert self._scales is not None
        return self._scales[i - 1].activation if i else INPUT_EXPONENT

    def quantised(self, i: int) -> tuple[Tensor, Tensor]:
        """Layer i's folded weight and bias as integers in float storage."""
        assert self._scales is not None
        stage, scales = self.units[i].first, self._scales[i]
        weight, bias = stage.folded()
        largest = (1 << self.weight_bits - 1) - 1
        return (
            quantise(weight * 2.0**scales.weight, -largest, largest),
            quantise(bias * 2.0 ** (scales.weight + self.input_exponent(i)), -BIAS_MAX, BIAS_MAX),
        )

    def parameters_of(self, i: int) -> list[nn.Parameter]:
        """Everything that layer i's own loss moves."""
        own = list(self.units[i].parameters())
        if isinstance(self.form, OnePass):
            own.append(self.form.anchors[i])
        elif isinstance(self.form, LabelPlane) and i == 0:
            own.append(self.form.planes)
        return own

    def activate(self, i: int, x: Tensor) -> Tensor:
        """Layer i's output h [B, O, H', W'] (after its ReLU, before its pool), in real units."""
        if self._scales is None:
            h: Tensor = self.layers[i](x)
            return h
        stage, scales = self.units[i].first, self._scales[i]
        weight, bias = self.quantised(i)
        real = 2.0**-scales.weight
        unit = 2.0**-scales.activation
        bias = bias.to(x.dtype) * (real * 2.0 ** -self.input_exponent(i))
        total = stage.convolve(x, weight.to(x.dtype) * real, bias)
        return quantise(total / unit, 0, ACTIVATION_MAX) * unit

    def activations(self, start: Tensor) -> Iterator[Tensor]:
        """Each layer's output h, no graph crossing a boundary; ``start`` goes into the first."""
        a = start
        for i, unit in enumerate(self.units):
            h = self.activate(i, a)
            yield h
            a = self.form.hand_on(unit, h.detach())
            del h  # with its graph, before the next layer computes

    def look(self, i: int, a: Tensor, y: Tensor) -> tuple[Judged, Tensor]:
        """Layer i's loss on its own, and the detached input of the next layer.

        With ``lean``, in float and one pass, a layer that is a chain keeps one map only.
        """
        unit = self.units[i]
        if self.lean and self._scales is None and isinstance(self.form, OnePass) and unit.is_chain:
            z = unit.before_last_norm(a)
            norm, cells = unit.last.norm, self.form.cells[i]
            p, handed = read(z, norm, cells, unit.block.pool)
            del z
            return self.form.judge_pooled(i, p, y), handed
        h = self.activate(i, a)
        return self.form.judge(i, h, y), self.form.hand_on(unit, h.detach())

    @torch.no_grad()
    def layer_costs(self, x: Tensor) -> Tensor:
        """Each layer's cost of every class: pixels 0..127 [B, C, H, W] -> [L, B, K]."""
        if isinstance(self.form, LabelPlane):
            every = torch.arange(self.classes, device=x.device).expand(len(x), -1)
            outputs = self.activations(self.form.join(x, every))
            return torch.stack([-self.form.goodness(h, self.classes) for h in outputs])
        layers = enumerate(self.activations(pixels(x)))
        return torch.stack([distances(*self.one_pass.features(i, h)) for i, h in layers])

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Goodness of every class, larger is better: [B, C, H, W] pixels 0..127 -> [B, K].

        Float: minus the sum of the counted layers' costs.  Quantised: the integer step's int32
        scores, in float64, where every sum that the step can hold is exact.
        """
        if self._scales is None:
            return -self.layer_costs(x)[list(self.counted)].sum(0)
        form = self.one_pass
        exponents = [s.activation for s in self._scales]
        shifts = score_shifts([a.shape[1] for a in form.anchors], exponents)
        total = torch.zeros(len(x), self.classes, dtype=torch.float64, device=x.device)
        for i, h in enumerate(self.activations(pixels(x).double())):
            if i in self.counted:
                p, anchors = (t.double() * 2.0 ** exponents[i] for t in form.features(i, h))
                total += (2 * p @ anchors.T - anchors.square().sum(1)) * 2.0 ** shifts[i]
        return total


def stages(net: Net) -> Iterator[tuple[str, ConvNorm]]:
    """Every convolution of a net with its name."""
    for name, module in net.named_modules():
        if isinstance(module, ConvNorm):
            yield name, module
