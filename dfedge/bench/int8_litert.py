"""A yardstick: the plan's net in LiteRT's own int8 operators, inference that learns nothing.

Operators and sizes are the plan's, weights are drawn: only times are compared.  Every activation
has one scale, which pools and joins want of all that goes in and comes out.
"""

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import ActivationFunctionType, Padding
from ai_edge_litert.schema_py_generated import BuiltinOperator as Op

from dfedge.bench.rival import gives_scores
from dfedge.blocks.kind import least_pads
from dfedge.exporters.graph import StockGraph
from dfedge.exporters.litert.file import File, Quantisation
from dfedge.exporters.litert.options import (
    concat_options,
    gather_options,
    plain_options,
    reshape_options,
)
from dfedge.maps import cells_of, pool_window
from dfedge.operations import (
    Add,
    AveragePool,
    Concat,
    Convolution,
    Gather,
    Lookup,
    MaxPool,
    Multiply,
    Operation,
    Pad,
    Select,
)
from dfedge.plan import Conv, Layer, Plan

NAME = "infer"
VALUES = Quantisation((0.02,), -128)
WEIGHTS = 0.01
RELU, NONE = ActivationFunctionType.RELU, ActivationFunctionType.NONE
KERNELS = {
    Op.ADD: 2, Op.MUL: 2, Op.AVERAGE_POOL_2D: 2, Op.MAX_POOL_2D: 2, Op.CONV_2D: 3,
    Op.DEPTHWISE_CONV_2D: 3, Op.FULLY_CONNECTED: 4, Op.HARD_SWISH: 1,
}  # fmt: skip
"""The version of each that knows int8."""
Pads = tuple[int, int, int, int]


class Int8Graph:
    """A plan's operations one after the other; a value is its tensor, int8 [B, H, W, C]."""

    def __init__(self, plan: Plan, batch: int) -> None:
        self.g, self.batch = StockGraph(), batch
        self.scales: dict[int, Quantisation] = {}
        self.numbers = np.random.default_rng(0)
        first = plan.layers[0].convs[0]
        sides = first.height, first.width, first.in_channels
        x = self.g.tensor((batch, *(plan.trunk.input_shape if plan.trunk else sides)), np.int8)
        self.scales[x] = VALUES
        self.g.inputs["x"] = x
        x = self._trunk(plan, x)
        own = plan.layers[:-1] if gives_scores(plan) else plan.layers
        for layer in own:
            x = self._layer(layer, x, layer is plan.layers[-1])
        self.g.outputs["scores"] = self._head(x, plan.classes)

    def op(self, builtin: int, given: list[int], shape: Sequence[int], options: Any) -> int:
        """An operator whose result has `VALUES`."""
        made = self.g.op(builtin, given, (self.batch, *shape), np.int8, options)
        self.scales[made] = VALUES
        return made

    def conv(self, x: int, shape: Sequence[int], kernel: Sequence[int], strides: Sequence[int],
             pads: Pads, depthwise: bool, act: int = RELU, groups: int = 1) -> int:  # fmt: skip
        """A convolution to [H, W, C]."""
        given, out = self.g.shapes[x][3], shape[2]
        weight = (1, *kernel, out) if depthwise else (out, *kernel, given // groups)
        builtin, name = Op.CONV_2D, "Conv2D"
        if depthwise:
            builtin, name = Op.DEPTHWISE_CONV_2D, "DepthwiseConv2D"
        x, options = self._windows(x, name, kernel, strides, pads)
        options.fields.fusedActivationFunction = act
        if depthwise:
            options.fields.depthMultiplier = 1
        return self.op(builtin, [x, *self._weights(weight, 3 if depthwise else 0)], shape, options)

    def pool(self, builtin: int, x: int, shape: Sequence[int], kernel: Sequence[int],
             strides: Sequence[int], pads: Pads = (0, 0, 0, 0)) -> int:  # fmt: skip
        """Means or maxima over windows."""
        x, options = self._windows(x, "Pool2D", kernel, strides, pads)
        options.fields.filterHeight, options.fields.filterWidth = kernel
        return self.op(builtin, [x], shape, options)

    def pad(self, x: int, pads: Pads) -> int:
        """Zeros around."""
        top, bottom, left, right = pads
        (_, height, width, channels) = self.g.shapes[x]
        shape = height + top + bottom, width + left + right, channels
        around = self.g.const([[0, 0], [top, bottom], [left, right], [0, 0]])
        return self.op(Op.PAD, [x, around], shape, plain_options("Pad"))

    def both(self, builtin: int, name: str, given: list[int], act: int = NONE) -> int:
        """A sum or a product."""
        options = plain_options(name)
        options.fields.fusedActivationFunction = act
        return self.op(builtin, given, self.g.shapes[given[0]][1:], options)

    def _windows(self, x: int, name: str, kernel: Sequence[int], strides: Sequence[int],
                 pads: Pads) -> tuple[int, Any]:  # fmt: skip
        """What goes in, and the options; pads that are not those of SAME are put around it."""
        options = plain_options(name)
        options.fields.strideH, options.fields.strideW = strides
        same = tuple(
            half
            for side, size, step in zip(self.g.shapes[x][1:3], kernel, strides, strict=True)
            for half in least_pads(side, size, step)
        )
        options.fields.padding = Padding.SAME if any(pads) and pads == same else Padding.VALID
        if any(pads) and pads != same:
            x = self.pad(x, pads)
        return x, options

    def _weights(self, shape: tuple[int, ...], axis: int) -> list[int]:
        """Weights by channel, and biases."""
        w = self.g.const(self.numbers.integers(-127, 128, shape), np.int8)
        b = self.g.const(self.numbers.integers(-999, 999, shape[axis]), np.int32)
        self.scales[w] = Quantisation((WEIGHTS,) * shape[axis], 0, axis)
        self.scales[b] = Quantisation((WEIGHTS * VALUES.scales[0],) * shape[axis])
        return [w, b]

    def _trunk(self, plan: Plan, x: int) -> int:
        values = [x]
        for one in plan.trunk.operations if plan.trunk else ():
            values.append(OPERATIONS[type(one)](self, one, [values[i] for i in one.reads]))
        return values[-1]

    def _layer(self, layer: Layer, x: int, pooled: bool) -> int:
        skip = self._of(layer.skip, x, NONE) if layer.skip else x
        chain = layer.convs[: layer.chain]
        for conv in chain:
            x = self._of(conv, x, NONE if layer.join and conv is chain[-1] else RELU)
        if layer.join:
            x = self.both(Op.ADD, "Add", [x, skip], RELU)
        rows, columns, channels = layer.ends.output
        if pooled or layer.mean:
            (down, across), kernel = cells_of((rows, columns), layer.cells)
            pads = 0, kernel[0] * down - rows, 0, kernel[1] * across - columns
            x = self.pad(x, pads) if any(pads) else x
            x = self.pool(Op.AVERAGE_POOL_2D, x, (down, across, channels), kernel, kernel)
            return self._reshape(x, (1, 1, layer.features))
        if layer.pool:
            window = pool_window((rows, columns))
            return self.pool(Op.MAX_POOL_2D, x, layer.hands_on, window, window)
        return x

    def _of(self, conv: Conv, x: int, act: int) -> int:
        strides = conv.stride, conv.stride
        return self.conv(x, conv.output, conv.kernel, strides, conv.pads, conv.depthwise, act)

    def _reshape(self, x: int, shape: tuple[int, ...]) -> int:
        whole = (self.batch, *shape)
        return self.op(Op.RESHAPE, [x, self.g.const(list(whole))], shape, reshape_options(whole))

    def _head(self, x: int, classes: int) -> int:
        features = prod(self.g.shapes[x][1:])
        flat = self._reshape(x, (features,))
        weights = self._weights((classes, features), 0)
        weight = self.scales[weights[0]]
        self.scales[weights[0]] = Quantisation(
            weight.scales[:1]
        )  # by tensor: what all versions know
        self.scales[weights[1]] = Quantisation((WEIGHTS * VALUES.scales[0],))
        return self.op(
            Op.FULLY_CONNECTED, [flat, *weights], (classes,), plain_options("FullyConnected")
        )


def _select(net: Int8Graph, one: Select, given: list[int]) -> int:
    return _along(net, given[0], 3, one.shape[2])


def _gather(net: Int8Graph, one: Gather, given: list[int]) -> int:
    return _along(net, _along(net, given[0], 1, one.shape[0]), 2, one.shape[1])


def _along(net: Int8Graph, x: int, axis: int, count: int) -> int:
    shape = list(net.g.shapes[x][1:])
    order = net.g.const(np.arange(count) % shape[axis - 1])
    shape[axis - 1] = count
    return net.op(Op.GATHER, [x, order], tuple(shape), gather_options(axis))


OPERATIONS: dict[type[Operation], Callable[[Int8Graph, Any, list[int]], int]] = {
    Convolution: lambda net, one, x: net.conv(
        x[0], one.shape, one.kernel, one.steps, one.pads, one.depthwise, groups=one.groups
    ),
    Pad: lambda net, one, x: net.pad(x[0], one.pads),
    Add: lambda net, _, x: net.both(Op.ADD, "Add", x),
    Multiply: lambda net, _, x: net.both(Op.MUL, "Mul", x),
    Lookup: lambda net, one, x: net.op(Op.HARD_SWISH, x, one.shape, plain_options("HardSwish")),
    AveragePool: lambda net, one, x: net.pool(
        Op.AVERAGE_POOL_2D, x[0], one.shape, one.kernel, one.steps, one.pads
    ),
    MaxPool: lambda net, one, x: net.pool(
        Op.MAX_POOL_2D, x[0], one.shape, one.kernel, one.steps, one.pads
    ),
    Concat: lambda net, one, x: net.op(Op.CONCATENATION, x, one.shape, concat_options(3)),
    Select: _select,
    Gather: _gather,
}
"""Operation -> LiteRT's own; for any table the cheapest curve there is."""


def write(plan: Plan, batch: int, path: Path) -> None:
    """The net at this batch size."""
    file = File(KERNELS)
    net = Int8Graph(plan, batch)
    file.add(NAME, net.g, net.scales)
    path.write_bytes(file.to_bytes())
