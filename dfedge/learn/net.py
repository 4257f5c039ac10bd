"""The net on the host: float, or fake-quantised with the integer step's own scales and rounding.

In float mode a layer computes in real numbers.  In quantised mode every tensor holds integers (in
float storage), batch normalisation is folded with its running statistics, and what is rounded
passes its gradient straight through; `Net.scores` then equals the integer step's exactly.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfedge.int8.ops import ACTIVATION_MAX, WEIGHT_MAX
from dfedge.int8.scales import INPUT_EXPONENT, Scales, activation_shift, score_shifts
from dfedge.learn.fake import quantise
from dfedge.learn.goodness import distances, pool_cells
from dfedge.learn.spec import Block, NetSpec

BIAS_MAX = 1 << 30


@dataclass(frozen=True)
class LayerOutput:
    """What one layer shows its own loss, in real units.

    Attributes:
        pooled: what the anchors see, p [B, d].
        anchors: the layer's anchors, A [K, d].
        distance: mean squared distance of each sample to each anchor, d_k [B, K].
    """

    pooled: Tensor
    anchors: Tensor
    distance: Tensor


class Layer(nn.Module):
    """One local learning unit with its own anchors."""

    def __init__(self, block: Block, in_channels: int, cells: int, classes: int) -> None:
        super().__init__()
        self.block, self.cells = block, cells
        self.weight = nn.Parameter(
            torch.empty(block.channels, in_channels, block.kernel, block.kernel)
        )
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.norm = nn.BatchNorm2d(block.channels)
        self.anchors = nn.Parameter(torch.zeros(classes, cells * cells * block.channels))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight [O, C, k, k] and bias [O], the running statistics folded in, in real units."""
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return self.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale

    def quantised(self, scales: Scales, input_exponent: int) -> tuple[Tensor, Tensor, Tensor]:
        """Weight, bias and anchors as integers in float storage."""
        weight, bias = self.folded()
        return (
            quantise(weight * 2.0**scales.weight, -WEIGHT_MAX, WEIGHT_MAX),
            quantise(bias * 2.0 ** (scales.weight + input_exponent), -BIAS_MAX, BIAS_MAX),
            quantise(self.anchors * 2.0**scales.activation, 0, ACTIVATION_MAX),
        )

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The layer's convolution, same padding, stride 1."""
        return F.conv2d(x, weight, bias, padding=self.block.kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Float mode: [B, C, H, W] -> the ReLU's output [B, O, H, W], before any pool."""
        return F.relu(self.norm(self.convolve(x, self.weight)))

    def hand_on(self, h: Tensor) -> Tensor:
        """What the next layer receives: detached, so that no gradient crosses the boundary."""
        return F.max_pool2d(h.detach(), 2) if self.block.pool else h.detach()


class Net(nn.Module):
    """A sequence of local learning units.

    Args:
        spec: the blocks.
        channels: of the input image.
        classes: number of classes, the rows of every layer's anchors.
    """

    def __init__(self, spec: NetSpec, channels: int, classes: int) -> None:
        super().__init__()
        self.spec, self.channels, self.classes = spec, channels, classes
        self.scales: tuple[Scales, ...] | None = None
        self.layers = nn.ModuleList()
        for block in spec.block:
            self.layers.append(Layer(block, channels, spec.anchors, classes))
            channels = block.channels

    def layer_list(self) -> list[Layer]:
        """The layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def outputs(self, x: Tensor) -> Iterator[LayerOutput]:
        """Yield one layer's output at a time; its graph dies with the caller's reference.

        Args:
            x: int8 or float pixels in 0..127, [B, C, H, W].
        """
        if self.scales is None:
            yield from self._float_outputs(x)
        else:
            yield from self._quantised_outputs(x.float(), self.scales)

    def activations(self, x: Tensor) -> Iterator[tuple[Layer, Tensor]]:
        """Float mode: each layer with its output h [B, O, H, W], x being pixels 0..127."""
        x = x.float() * 2.0**-INPUT_EXPONENT
        for layer in self.layer_list():
            h = layer(x)
            yield layer, h
            x = layer.hand_on(h)
            del h  # with its graph, before the next layer computes

    def _float_outputs(self, x: Tensor) -> Iterator[LayerOutput]:
        for layer, h in self.activations(x):
            p = pool_cells(h, layer.cells)
            yield LayerOutput(p, layer.anchors, distances(p, layer.anchors))
            del h, p

    def _quantised_outputs(self, x: Tensor, scales: tuple[Scales, ...]) -> Iterator[LayerOutput]:
        for _, scale, _, p, anchors in self._integers(x, scales):
            unit = 2.0**-scale.activation
            yield LayerOutput(p * unit, anchors * unit, distances(p * unit, anchors * unit))

    def _integers(
        self, x: Tensor, scales: tuple[Scales, ...]
    ) -> Iterator[tuple[Layer, Scales, Tensor, Tensor, Tensor]]:
        """Layer, scales, h, p and anchors, all integers in x's dtype."""
        exponent = INPUT_EXPONENT
        for layer, scale in zip(self.layer_list(), scales, strict=True):
            weight, bias, anchors = (t.to(x.dtype) for t in layer.quantised(scale, exponent))
            acc = layer.convolve(x, weight, bias)
            h = quantise(acc * 2.0 ** -activation_shift(scale, exponent), 0, ACTIVATION_MAX)
            p = quantise(pool_cells(h, layer.cells), 0, ACTIVATION_MAX)
            yield layer, scale, h, p, anchors
            x, exponent = layer.hand_on(h), scale.activation

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Goodness of every class, larger is nearer: [B, C, H, W] pixels 0..127 -> [B, K].

        Float mode: minus the sum of the layers' distances.  Quantised mode: the integer step's
        int32 scores, in float64, where every sum that the step can hold is exact.
        """
        if self.scales is None:
            return -torch.stack([out.distance for out in self.outputs(x)]).sum(0)
        features = [layer.anchors.shape[1] for layer in self.layer_list()]
        shifts = score_shifts(features, [s.activation for s in self.scales])
        layers = self._integers(x.double(), self.scales)
        terms = [
            (2 * p @ anchors.T - anchors.square().sum(1)) * 2.0**shift
            for shift, (_, _, _, p, anchors) in zip(shifts, layers, strict=True)
        ]
        return torch.stack(terms).sum(0)
