"""The net on the host: float, or fake-quantised with the integer step's own scales and rounding.

Quantised, every tensor holds integers times a power of two (so float arithmetic on them is the
integers' own), batch normalisation is folded with its running statistics, and what is rounded
passes its gradient straight through; `Net.scores` then equals the integer step's exactly.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dfedge.int8.ops import ACTIVATION_MAX, BIAS_MAX
from dfedge.int8.scales import INPUT_EXPONENT, LayerScales
from dfedge.learn.fake import quantise
from dfedge.learn.forms import Form
from dfedge.learn.forms.labelplane import LabelPlane
from dfedge.learn.forms.loss import LayerLoss
from dfedge.learn.forms.onepass import OnePass
from dfedge.learn.lean import read
from dfedge.learn.spec import NetSpec
from dfedge.learn.units import ConvNorm, Unit
from dfedge.plan import Shape

MAPS_AT_ONCE = 2000
"""Inputs that are scored together; more would only take memory."""


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
        self._scales: tuple[LayerScales, ...] | None = None
        self.weight_bits = 8
        self.lean = False
        self.plane = form == "label-plane"
        self.counted = tuple(range(len(shapes)))[-spec.counted :]  # 0: all
        extra = LabelPlane.extra_channels if self.plane else 0
        self.layers = nn.ModuleList()
        for i, (block, (seen, _)) in enumerate(zip(spec.blocks(), shapes, strict=True)):
            wider = (seen[0], seen[1], seen[2] + (extra if i == 0 else 0))
            self.layers.append(Unit(block, wider))
        self.form: Form
        if self.plane:
            self.form = LabelPlane(image, [out for _, out in shapes], classes, spec.plane)
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
    def label_plane(self) -> LabelPlane:
        """The form of a net that has planes."""
        assert isinstance(self.form, LabelPlane)
        return self.form

    @property
    def scales(self) -> tuple[LayerScales, ...] | None:
        """Set: the net is fake-quantised."""
        return self._scales

    @scales.setter
    def scales(self, scales: tuple[LayerScales, ...] | None) -> None:
        self._scales = scales
        self.form.scales = scales

    def reads_input(self, j: int) -> bool:
        """Whether a first layer's j-th convolution sees the layer's own input."""
        return j in (0, self.units[0].chain)

    def input_exponent(self, i: int, j: int = 0) -> int:
        """Of what layer i's j-th convolution receives."""
        assert self._scales is not None
        if j in (0, self.units[i].chain):
            return self._scales[i - 1].handed if i else INPUT_EXPONENT
        return self._scales[i].convs[j - 1].activation

    def quantised(self, i: int, j: int = 0) -> tuple[Tensor, Tensor]:
        """Folded weight and bias of layer i's j-th convolution, integers in float storage."""
        assert self._scales is not None
        scales = self._scales[i].convs[j]
        weight, bias = self.units[i].conv(j).folded()
        largest = (1 << self.weight_bits - 1) - 1
        exponent = scales.weight + self.input_exponent(i, j)
        return (
            quantise(weight * 2.0**scales.weight, -largest, largest),
            quantise(bias * 2.0**exponent, -BIAS_MAX, BIAS_MAX),
        )

    def parameters_of(self, i: int) -> list[nn.Parameter]:
        """Everything that layer i's own loss moves."""
        own = list(self.units[i].parameters())
        if isinstance(self.form, OnePass):
            own += self.form.labels(i)
        elif isinstance(self.form, LabelPlane) and i == 0:
            own.append(self.form.planes)
        return own

    def activate(self, i: int, x: Tensor) -> Tensor:
        """Layer i's output h [B, O, H', W'] (after its ReLU, before its pool), in real units."""
        if self._scales is None:
            h: Tensor = self.layers[i](x)
            return h
        unit, scales = self.units[i], self._scales[i].convs

        def rounded(total: Tensor, j: int) -> Tensor:
            step = 2.0 ** -scales[j].activation
            return quantise(total / step, 0, ACTIVATION_MAX) * step

        last, given = unit.chain - 1, x
        for j in range(last):
            x = rounded(self._total(i, j, x), j)
        total = self._total(i, last, x)
        if unit.joined:
            total = total + (self._total(i, last + 1, given) if len(scales) > last + 1 else given)
        return rounded(total, last)

    def _total(self, i: int, j: int, x: Tensor) -> Tensor:
        """A convolution's accumulator in real units."""
        assert self._scales is not None
        weight, bias = self.quantised(i, j)
        real = 2.0 ** -self._scales[i].convs[j].weight
        bias = bias.to(x.dtype) * (real * 2.0 ** -self.input_exponent(i, j))
        return self.units[i].conv(j).convolve(x, weight.to(x.dtype) * real, bias)

    def activations(self, start: Tensor) -> Iterator[Tensor]:
        """Each layer's output h, no graph crossing a boundary; ``start`` goes into the first."""
        a = start
        for i, unit in enumerate(self.units):
            h = self.activate(i, a)
            yield h
            a = self.form.hand_on(i, unit, h.detach())
            del h  # with its graph, before the next layer computes

    def look(self, i: int, a: Tensor, y: Tensor) -> tuple[LayerLoss, Tensor]:
        """Layer i's loss on its own, and the detached input of the next layer.

        With ``lean``, in float and one pass, a layer that adds no input keeps one map only.
        """
        unit = self.units[i]
        lean = self.lean and self._scales is None and not unit.joined
        if lean and isinstance(self.form, OnePass):
            z = unit.before_last_norm(a)
            norm, cells = unit.last.norm, self.form.cells[i]
            p, handed = read(z, norm, cells, unit.block.pool)
            del z
            return self.form.judge_pooled(i, p, y), handed
        h = self.activate(i, a)
        return self.form.judge(i, h, y), self.form.hand_on(i, unit, h.detach())

    @torch.no_grad()
    def layer_costs(self, x: Tensor) -> Tensor:
        """Each layer's cost of every class: pixels 0..127 [B, C, H, W] -> [L, B, K]."""
        return torch.cat([self._costs(part) for part in self._parts(x)], 1)

    def _costs(self, x: Tensor) -> Tensor:
        outputs = enumerate(self.activations(self.form.try_all(x)))
        return torch.stack([self.form.costs(i, h) for i, h in outputs])

    def _parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """Samples whose copies, one for every label to be tried, are `MAPS_AT_ONCE` at most."""
        copies = self.classes if self.plane else 1
        size = max(1, MAPS_AT_ONCE // copies)
        return tuple(x[i : i + size] for i in range(0, len(x), size))

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Goodness of every class, larger is better: [B, C, H, W] pixels 0..127 -> [B, K].

        Float: minus the sum of the counted layers' costs.  Quantised: the integer step's int32
        scores, in float64, where every sum that the step can hold is exact.
        """
        if self._scales is None:
            return -self.layer_costs(x)[list(self.counted)].sum(0)
        return torch.cat([self._integer_scores(part) for part in self._parts(x)])

    def _integer_scores(self, x: Tensor) -> Tensor:
        total = torch.zeros(len(x), self.classes, dtype=torch.float64, device=x.device)
        for i, h in enumerate(self.activations(self.form.try_all(x).double())):
            if i in self.counted:
                total += self.form.integer_scores(i, h, self.counted)
        return total


def stages(net: Net) -> Iterator[tuple[str, ConvNorm]]:
    """Every convolution of a net with its name."""
    for name, module in net.named_modules():
        if isinstance(module, ConvNorm):
            yield name, module
