"""An exported torch graph -> `Graph`: every operation that edge classifiers are built from, or a
refusal.

Accepted: convolution (any group), linear, batch norm, any activation that works number by number,
add, multiply, concat, average and max pool, mean and maximum over the image, zeros around it, what
only moves whole channels (split, slice, shuffle, transposes that come back), flatten, dropout,
identity, and arithmetic with constants.
"""

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node as Fx

from dfedge.adoption.activations import find
from dfedge.adoption.graph import ForeignGraph, Shape
from dfedge.adoption.torch_graph import MOVING, TorchGraph, channels_last, number, site_of
from dfedge.adoption.torch_windows import TorchWindows
from dfedge.adoption.values import Refused
from dfedge.errors import DfedgeError

aten = torch.ops.aten

NOTHING = ("dropout", "clone", "alias", "detach", "contiguous", "_to_copy", "to.dtype")
"""Operations that change no number in evaluation."""


def read(
    program: ExportedProgram, refused: Refused = None, sample: Shape | None = None
) -> ForeignGraph:
    """Translate.

    Args:
        sample: [C, H, W], see `dfedge.adoption.values.Values.input`.
        refused: collects what cannot be (`dfedge.adoption.values.Values`); the graph is then no
            use.

    Raises:
        DfedgeError: an operation that is not known (with its line and what would replace it), a
            dynamic shape, weights that are not finite, or more than one output.
    """
    reader = _Reader(program, sample)
    reader.refused = refused
    return reader.read()


class _Reader(TorchWindows):
    """One translation."""

    def read(self) -> ForeignGraph:
        """See `read`."""
        signature = self.program.graph_signature
        held = {**self.program.state_dict, **self.program.constants}
        names = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        for fx in self.program.graph.nodes:
            self.begin(fx, site_of(fx))
            if fx.op == "placeholder" and fx.name in names:
                self.keep(fx, names[fx.name], held[names[fx.name]].detach())
            elif fx.op == "placeholder":
                value = fx.meta.get("val")
                dims = value.shape if isinstance(value, Tensor) else ()
                self.input(fx, dims, channels_last(fx), self.sample)
                self.batch = number(dims[0]) if dims else 1
            elif fx.op == "call_function":
                self.attempt(partial(self._call, fx), fx.all_input_nodes, _dims(fx))
            elif fx.op == "output":
                results: Any = fx.args[0]
                given = list(results) if isinstance(results, list | tuple) else [results]
                return self.graph(given)
            else:
                raise self.refusal()
        raise DfedgeError("the net returns nothing; allowed: one score per class")

    def _call(self, fx: Fx) -> None:
        called: Any = fx.target
        target = self.site.what
        inputs = fx.all_input_nodes
        if target.startswith("_assert") or target.startswith("sym_"):
            return
        if inputs and all(given in self.constants for given in inputs):
            made = fx.meta.get("val")
            if isinstance(made, Tensor):
                self.check_size(made.numel())
            args, kwargs = torch.fx.node.map_arg((fx.args, fx.kwargs), self.constants.__getitem__)
            self.constants[fx] = called(*args, **kwargs)
        elif fx.target is operator.getitem:
            self.part(inputs[0], fx.args[1])
        elif target.startswith(MOVING) and fx.target not in READERS:
            self.moving(fx)
        elif target.startswith(NOTHING):
            self.same(inputs[0])
        else:
            READERS.get(fx.target, _Reader.pointwise)(self, fx)

    def fully_connected(self, fx: Fx) -> None:
        """linear; addmm, mm and matmul with a transposed weight."""
        args: Any = fx.args
        if fx.target is aten.addmm.default:
            self.linear(args[1], self.weights(args[2]).T, self.weights(args[0]))
        elif fx.target is not aten.linear.default:
            self.linear(args[0], self.weights(args[1]).T, None)
        else:
            bias = args[2] if len(args) > 2 else None
            self.linear(args[0], self.weights(args[1]), self.optional(bias))

    def flatten(self, fx: Fx) -> None:
        """flatten, view, reshape, squeeze and unsqueeze."""
        given: Any = fx.args[0]
        self.reshape(given, tuple(fx.meta["val"].shape[1:]))

    def batch_norm(self, fx: Fx) -> None:
        """batch_norm in evaluation."""
        args: Any = fx.args
        given, gamma, beta, mean, variance = args[:5]
        eps = args[7] if fx.target is aten.batch_norm.default else args[6]
        if mean not in self.constants or variance not in self.constants:
            raise self.refusal("batch norm without running statistics", "net.eval() with them")
        self.norm(given, self.optional(gamma), self.optional(beta), self.weights(mean),
                  self.weights(variance), eps)  # fmt: skip

    def pointwise(self, fx: Fx) -> None:
        """What works number by number, of what is made from one value: torch itself says what it
        computes.
        """
        called: Any = fx.target
        known, tags = find(self.site.what.removesuffix(".default")), getattr(called, "tags", ())
        values = [one for one in fx.all_input_nodes if one in self.values]
        others = [one for one in fx.all_input_nodes if one not in self.values]
        plain = torch.Tag.pointwise in tags or known or self.site.what.startswith("where.")
        drawn = torch.Tag.nondeterministic_seeded in tags
        single = all(one in self.constants and self.constants[one].numel() == 1 for one in others)
        if not values or not plain or drawn or not single:
            raise self.refusal()
        called = known.function if known else called
        constants = {one: self.constants[one] for one in others}

        def function(*given: Tensor) -> Tensor:
            own = (x > 0 if kind == torch.bool else x.clone()
                   for x, kind in zip(given, kinds, strict=True))  # fmt: skip
            operands = {**constants, **dict(zip(values, own, strict=True))}
            args, kwargs = torch.fx.node.map_arg((fx.args, fx.kwargs), operands.__getitem__)
            made: Tensor = called(*args, **kwargs)
            return made.to(given[0].dtype)

        kinds = [one.meta["val"].dtype for one in values]
        if len(values) == 1:
            self.function(values[0], function)
        elif not self.joined(function, values):
            raise self.refusal(f"{self.site.what} of several values", "what is made from one")

    def extreme(self, fx: Fx) -> None:
        """maximum and minimum of two values, or of one and a number."""
        args: Any = fx.args
        if args[0] in self.values and args[1] in self.values:
            self.extreme_of("max" in str(fx.target), *args)
        else:
            self.pointwise(fx)

    def prelu(self, fx: Fx) -> None:
        """A slope below zero, or one a channel."""
        args: Any = fx.args
        slope, rank = self.weights(args[1]), len(self.value(args[0]).dims)
        self.leaky(args[0], slope.reshape(-1, *(1 for _ in range(rank - 1))))

    def probabilities(self, fx: Fx) -> None:
        """Softmax and its logarithm."""
        args: Any = fx.args
        self.softmax(args[0], int(args[1]))

    def arithmetic(self, fx: Fx) -> None:
        """Add, subtract, multiply, divide: two maps, or a map and a constant."""
        op: Any = str(fx.target).split(".")[1]
        args: Any = fx.args
        a, b = args[:2]
        if fx.kwargs.get("alpha", 1) != 1:
            raise self.refusal(f"{op} with alpha", "multiply before it")
        if a in self.values and b in self.values:
            self.combine(op, a, b)
            return
        given, other = (a, b) if a in self.values else (b, a)
        if isinstance(other, Fx):
            value = self.constants[other]
        else:
            value = torch.tensor(other if isinstance(other, complex) else float(other))
        self.with_constant(op, given, value, given is b)

    def over_axes(self, fx: Fx) -> None:
        """Mean, sum and maximum over height and width."""
        args: Any = fx.args
        given, before = args[0], math.prod(self.value(args[0]).dims)
        over = args[1] if len(args) > 1 else None
        axes = [over] if isinstance(over, int) else over or range(1 + len(self.value(given).dims))
        keep = bool(args[2]) if len(args) > 2 else bool(fx.kwargs.get("keepdim", False))
        self.reduce("max" if "max" in str(fx.target) else "mean", given, axes, keep)
        if fx.target is aten.sum.dim_IntList:
            count = before // math.prod(self.value(fx).dims)
            self.with_constant("mul", fx, torch.tensor(float(count)), False)

    def norm_of(self, fx: Fx) -> None:
        """A vector's norm, in torch's three operations."""
        args: Any = [*fx.args, None, None, None][:4]
        given, power, axes, keep = args
        over = axes if axes else range(1 + len(self.value(given).dims))
        self.length(given, 2.0 if power is None else float(power), over, bool(keep))

    def cosines(self, fx: Fx) -> None:
        """cosine_similarity of [B, 1, F] and a constant [1, K, F]."""
        args: Any = fx.args
        a, b, *rest = args
        given, other = (a, b) if a in self.values else (b, a)
        weight, axis = self.weights(other), rest[0] if rest else 1
        dims = self.value(given).dims
        if weight.dim() != 3 or len(dims) != 2 or dims[0] != 1 or axis not in (2, -1):
            raise self.refusal("", "a vector [B, 1, F] and constants [1, K, F]")
        self.cosine(given, weight[0], float(rest[1]) if len(rest) > 1 else 1e-8)

    def cat(self, fx: Fx) -> None:
        """Channels side by side."""
        parts: Any = fx.args[0]
        axis: Any = fx.args[1] if len(fx.args) > 1 else 0
        self.concat(parts, axis)


def _dims(fx: Fx) -> tuple[int, ...] | None:
    """Shape of a result without the batch, where it is one tensor of known shape."""
    said = fx.meta.get("val")
    return tuple(said.shape[1:]) if isinstance(said, Tensor) else None


def _line(slope: float, lift: float, low: float, high: float) -> Callable[[_Reader, Fx], None]:
    def read_line(reader: _Reader, fx: Fx) -> None:
        given: Any = fx.args[0]
        reader.clip(given, slope, lift, low, high)

    return read_line


def _tanh(reader: _Reader, fx: Fx) -> None:
    """hardtanh and clamp with numbers."""
    args: Any = [*fx.args, *((None, -1.0, 1.0) if "tanh" in str(fx.target) else (None,) * 3)[
        len(fx.args) :]]  # fmt: skip
    low, high = args[1:3]
    reader.clip(args[0], 1, 0, -math.inf if low is None else float(low),
                math.inf if high is None else float(high))  # fmt: skip


READERS: dict[Any, Callable[[_Reader, Fx], None]] = {
    aten.conv1d.default: _Reader.convolution,
    aten.conv1d.padding: _Reader.convolution,
    aten.conv2d.default: _Reader.convolution,
    aten.conv2d.padding: _Reader.convolution,
    aten.convolution.default: _Reader.convolution,
    aten.linear.default: _Reader.fully_connected,
    aten.addmm.default: _Reader.fully_connected,
    aten.mm.default: _Reader.fully_connected,
    aten.matmul.default: _Reader.fully_connected,
    aten.batch_norm.default: _Reader.batch_norm,
    aten._native_batch_norm_legit_no_training.default: _Reader.batch_norm,
    aten.relu.default: _line(1, 0, 0, math.inf),
    aten.relu6.default: _line(1, 0, 0, 6),
    aten.hardsigmoid.default: _line(1 / 6, 0.5, 0, 1),
    aten.hardtanh.default: _tanh,
    aten.clamp.default: _tanh,
    aten.clamp_min.default: _tanh,
    aten.prelu.default: _Reader.prelu,
    aten.softmax.int: _Reader.probabilities,
    aten._softmax.default: _Reader.probabilities,
    aten.log_softmax.int: _Reader.probabilities,
    aten._log_softmax.default: _Reader.probabilities,
    aten.add.Tensor: _Reader.arithmetic,
    aten.sub.Tensor: _Reader.arithmetic,
    aten.mul.Tensor: _Reader.arithmetic,
    aten.div.Tensor: _Reader.arithmetic,
    aten.avg_pool2d.default: _Reader.pooling,
    aten.max_pool2d.default: _Reader.pooling,
    aten.max_pool2d_with_indices.default: _Reader.pooling,
    aten.adaptive_avg_pool2d.default: _Reader.adaptive_pooling,
    aten._adaptive_avg_pool2d.default: _Reader.adaptive_pooling,
    aten.adaptive_max_pool2d.default: _Reader.adaptive_pooling,
    aten.avg_pool1d.default: _Reader.pooling,
    aten.max_pool1d.default: _Reader.pooling,
    aten.max_pool1d_with_indices.default: _Reader.pooling,
    aten.adaptive_avg_pool1d.default: _Reader.adaptive_pooling,
    aten.adaptive_max_pool1d.default: _Reader.adaptive_pooling,
    aten.pad.default: _Reader.padding,
    aten.constant_pad_nd.default: _Reader.padding,
    aten.upsample_bilinear2d.vec: _Reader.interpolated,
    aten.upsample_bilinear2d.default: _Reader.interpolated,
    aten.mean.dim: _Reader.over_axes,
    aten.sum.dim_IntList: _Reader.over_axes,
    aten.linalg_vector_norm.default: _Reader.norm_of,
    aten.linalg_norm.default: _Reader.norm_of,
    aten.norm.ScalarOpt_dim: _Reader.norm_of,
    aten.cosine_similarity.default: _Reader.cosines,
    aten.expand_as.default: TorchGraph.expanded,
    aten.amax.default: _Reader.over_axes,
    aten.max.dim: _Reader.over_axes,
    aten.maximum.default: _Reader.extreme,
    aten.minimum.default: _Reader.extreme,
    aten.cat.default: _Reader.cat,
    aten.flatten.using_ints: _Reader.flatten,
    aten.view.default: _Reader.flatten,
    aten.reshape.default: _Reader.flatten,
    aten._unsafe_view.default: _Reader.flatten,
    aten.squeeze.dims: _Reader.flatten,
    aten.squeeze.dim: _Reader.flatten,
    aten.unsqueeze.default: _Reader.flatten,
}
"""ATen operation -> its translation."""
