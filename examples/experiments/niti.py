"""Back-propagation in integers as NITI does it: int8 weights, activations and errors, with shifts.

M. Wang and others, "NITI: Training Integer Neural Networks Using Integer-only Arithmetic" (IEEE
TPDS 2022; arXiv 2009.13108), whose way TI's on-device training takes. A tensor is int8 times a
power of two of its own. Products are summed in int32; the largest sum of a tensor gives the shift
that brings it back to int8, rounded at random. A weight's gradient, int32, is shifted until its
largest value has ``bits`` bits and is subtracted from the int8 weights: that is the learning rate.
Biases, which NITI's nets lack, are float here, and the softmax is computed in float: both favour
it.

Integers are held in float64, which holds their sums exactly.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import grad

from dfedge.bench.rival import FloatNet
from dfedge.maps import cells_of, pool_window

BITS = 7
"""Of a value without its sign."""


def shifted(total: Tensor, bits: int, draw: torch.Generator) -> tuple[Tensor, int]:
    """Integers brought to so many bits by a right shift, rounded at random; and the shift."""
    largest = float(total.abs().max())
    shift = max(math.ceil(math.log2(largest + 1)) - bits, 0) if largest else 0
    if not shift:
        return total, 0
    noise = torch.rand(total.shape, generator=draw, dtype=total.dtype)
    limit = 2.0 ** max(bits, 0) - 1 if bits > 0 else 1.0
    return (total * 2.0**-shift + noise).floor().clamp(-limit, limit), shift


class IntegerNet:
    """A `FloatNet` of plain convolutions and a linear head, in int8.

    Attributes:
        weights, exponents: int8 values, and the power of two that each is a multiple of.
        biases: real.
    """

    def __init__(self, net: FloatNet, seed: int) -> None:
        self.layers = list(net.layers)
        self.draw = torch.Generator().manual_seed(seed)
        inner = [layer.convs[0].inner for layer in self.layers]
        parts = [*inner, net.requires_grad_(False).head]
        self.convs = inner
        self.biases = [part.bias.detach().double().clone() for part in parts]
        self.exponents = [math.ceil(math.log2(float(p.weight.abs().max()) / 127)) for p in parts]
        self.weights = [(p.weight.detach().double() * 2.0**-e).round().clamp(-127, 127)
                        for p, e in zip(parts, self.exponents, strict=True)]  # fmt: skip

    def forward(self, q: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Real logits of inputs q int8 [B, C, H, W] in 0..127; and what the way back needs."""
        x, exponent = q.double(), -BITS
        inputs, masks = [], []
        self.input_exponents = []
        for i, (layer, conv) in enumerate(zip(self.layers, self.convs, strict=True)):
            inputs.append(x)
            self.input_exponents.append(exponent)
            exponent += self.exponents[i]
            total = F.conv2d(x, self.weights[i], None, conv.stride, conv.padding)
            total += (self.biases[i] * 2.0**-exponent).round()[:, None, None]
            h, more = shifted(F.relu(total), BITS, self.draw)
            exponent += more
            masks.append(h)
            if layer.pooled:
                x = layer._cell_means(h).flatten(1).floor()
            else:
                x = F.max_pool2d(h, pool_window(h.shape[2:])) if layer.pool else h
        inputs.append(x)
        self.input_exponents.append(exponent)
        exponent += self.exponents[-1]
        return (x @ self.weights[-1].T) * 2.0**exponent + self.biases[-1], inputs, masks

    def step(self, q: Tensor, y: Tensor, bits: int) -> None:
        """Learn from a batch, weights' updates of at most so many bits."""
        logits, inputs, masks = self.forward(q)
        error = (torch.softmax(logits, 1) - F.one_hot(y, logits.shape[1])) * 127
        e = error.round()
        back, _ = shifted(e @ self.weights[-1], BITS, self.draw)
        self._move(-1, e.T @ inputs[-1], e.sum(0), bits)
        for i in reversed(range(len(self.layers))):
            e = self._opened(i, back, masks[i])
            conv, x = self.convs[i], inputs[i]
            how = {"stride": conv.stride, "padding": conv.padding}
            if i:
                total = grad.conv2d_input(x.shape, self.weights[i], e, **how)
                back, _ = shifted(total, BITS, self.draw)
            change = grad.conv2d_weight(x, self.weights[i].shape, e, **how)
            self._move(i, change, e.sum((0, 2, 3)), bits)

    def _opened(self, i: int, e: Tensor, h: Tensor) -> Tensor:
        """An error through a layer's pool and ReLU."""
        layer = self.layers[i]
        if layer.pooled:
            (down, across), (height, width) = cells_of(h.shape[2:], layer.cells)
            e = e.reshape(len(e), h.shape[1], down, across)
            e = e.repeat_interleave(height, 2).repeat_interleave(width, 3)
            e = e[:, :, : h.shape[2], : h.shape[3]]
        elif layer.pool:
            window = pool_window(h.shape[2:])
            _, place = F.max_pool2d(h, window, return_indices=True)
            e = F.max_unpool2d(e, place, window, output_size=h.shape[2:])
        return e * (h > 0)

    def _move(self, i: int, change: Tensor, to_bias: Tensor, bits: int) -> None:
        moved, shift = shifted(change, bits, self.draw)
        self.weights[i] = (self.weights[i] - moved).clamp(-127, 127)
        rate = 2.0 ** (self.exponents[i] - shift - self.input_exponents[i])
        self.biases[i] -= rate * to_bias
