"""An exported graph -> `Graph`: every operation that edge classifiers are built from, or a refusal.

Accepted: convolution (any group), linear, batch norm, ReLU, ReLU6, hard swish, hard sigmoid, add,
multiply, concat, average and max pool, mean over the image, flatten, dropout, identity, and
arithmetic with constants.
"""

import math
import operator
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node as Fx

from dfedge.adopt.graph import Graph, Node, Op, Shape
from dfedge.errors import DfedgeError

aten = torch.ops.aten

REMEDIES = {
    "silu": "replace SiLU by nn.Hardswish and train on",
    "sigmoid": "replace Sigmoid by nn.Hardsigmoid and train on",
    "gelu": "replace GELU by nn.Hardswish and train on",
    "leaky_relu": "replace LeakyReLU by nn.ReLU and train on",
    "layer_norm": "replace LayerNorm by nn.BatchNorm2d and train again",
    "group_norm": "replace GroupNorm by nn.BatchNorm2d and train again",
    "softmax": "leave softmax out of the net: scores need none",
    "conv_transpose": "transposed convolutions belong to decoders; dfedge adopts classifiers",
    "cond": "a net must run the same operations whatever it sees",
    "scaled_dot_product_attention": "attention has no integer form here",
}
"""Part of an operation's name -> what would replace it."""
NOTHING = ("dropout", "clone", "alias", "detach", "contiguous", "_to_copy", "to.dtype")
"""Operations that change no number in evaluation."""


def read(program: ExportedProgram, classes: int) -> Graph:
    """Translate.

    Raises:
        DfedgeError: an operation that is not known (with its line and what would replace it), a
            dynamic shape, weights that are not finite, more than one output, or another number of
            scores than ``classes``.
    """
    return _Reader(program).graph(classes)


class _Reader:
    """One translation: fx nodes -> numbers of operations, or constants."""

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        self.nodes: list[Node] = []
        self.known: dict[Fx, int] = {}
        self.flat: dict[Fx, Shape] = {}
        self.constants: dict[Fx, Tensor] = {}

    def graph(self, classes: int) -> Graph:
        """See `read`."""
        signature = self.program.graph_signature
        held = {**self.program.state_dict, **self.program.constants}
        names = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        for fx in self.program.graph.nodes:
            if fx.op == "placeholder" and fx.name in names:
                self.constants[fx] = _finite(held[names[fx.name]].detach(), names[fx.name])
            elif fx.op == "placeholder":
                self._input(fx)
            elif fx.op == "call_function":
                self._call(fx)
            elif fx.op == "output":
                self._output(fx, classes)
            else:
                raise _refusal(fx, str(fx.target))
        return Graph(self.nodes)

    def _input(self, fx: Fx) -> None:
        value = fx.meta.get("val")
        if self.nodes or not isinstance(value, Tensor) or value.dim() != 4:
            raise DfedgeError(
                f"the net takes '{fx.name}'; allowed: one input, images float [B, C, H, W]"
            )
        shape = value.shape[1:]
        if not all(isinstance(side, int) for side in shape):
            raise DfedgeError(
                f"the net's input has a dynamic shape {list(shape)}; export it for one image size "
                "(no dynamic_shapes for channels, height and width)"
            )
        self._add(fx, Node("input", fx.name, (), (int(shape[0]), int(shape[1]), int(shape[2]))))

    def _output(self, fx: Fx, classes: int) -> None:
        results: Any = fx.args[0]
        given = list(results) if isinstance(results, list | tuple) else [results]
        if len(given) != 1 or given[0] not in self.known:
            raise DfedgeError(f"the net returns {len(given)} results; allowed: one score per class")
        last = self.known[given[0]]
        channels, height, width = self.nodes[last].shape
        if (channels * height * width, height, width) != (classes, 1, 1):
            raise DfedgeError(
                f"the net's output is {channels} x {height} x {width} a sample, and the data have "
                f"{classes} classes; allowed: one score per class"
            )
        del self.nodes[last + 1 :]

    def _add(self, fx: Fx, node: Node) -> None:
        node.where = _line(fx)
        self.nodes.append(node)
        self.known[fx] = len(self.nodes) - 1

    def _same(self, fx: Fx, given: Fx) -> None:
        if given in self.constants:
            self.constants[fx] = self.constants[given]
            return
        self.known[fx] = self.known[given]
        if given in self.flat:
            self.flat[fx] = self.flat[given]

    # -- one operation ------------------------------------------------------------------------

    def _call(self, fx: Fx) -> None:
        called: Any = fx.target
        target = str(called).removeprefix("aten.")
        inputs = fx.all_input_nodes
        if target.startswith("_assert") or target.startswith("sym_"):
            return
        if inputs and all(given in self.constants for given in inputs):
            args, kwargs = torch.fx.node.map_arg((fx.args, fx.kwargs), self.constants.__getitem__)
            self.constants[fx] = called(*args, **kwargs)
            return
        if fx.target is operator.getitem:
            if fx.args[1] != 0:
                raise _refusal(fx, "a second result")
            self._same(fx, inputs[0])
        elif target.startswith(NOTHING):
            self._same(fx, inputs[0])
        else:
            made = READERS.get(fx.target)
            if made is None:
                raise _refusal(fx, target)
            made(self, fx)

    def shape(self, fx: Any) -> Shape:
        """Of an operand."""
        return self.nodes[self.known[fx]].shape

    def constant(self, fx: Any) -> Tensor | None:
        """An operand that is a constant, or None."""
        return self.constants.get(fx) if isinstance(fx, Fx) else None

    def conv(self, fx: Fx) -> None:
        """conv2d and convolution."""
        args: Any = fx.args
        given, w, b, *rest = [*args, *[None] * (7 - len(args))][:7]
        if fx.target is aten.convolution.default:
            stride, padding, dilation, transposed, output_padding, groups = args[3:9]
            if transposed or any(output_padding):
                raise _refusal(fx, "conv_transpose2d")
        else:
            stride, padding, dilation, groups = (
                r if r is not None else d for r, d in zip(rest, (1, 0, 1, 1), strict=True)
            )
        weight, bias = self.constant(w), self.constant(b)
        if weight is None or weight.dim() != 4 or not isinstance(groups, int):
            raise _refusal(fx, "convolution other than 2-d with constant weights")
        stride, padding, dilation = _pair(stride), _padding(padding, weight), _pair(dilation)
        if stride[0] != stride[1]:
            raise _refusal(fx, f"convolution with stride {stride}", "equal strides both ways")
        if dilation != (1, 1):
            raise _refusal(fx, f"convolution with dilation {dilation}", "dilation 1")
        _, height, width = self.shape(given)
        top, left = padding
        kh, kw = weight.shape[2:]
        rows, columns = height + 2 * top - kh, width + 2 * left - kw
        shape = (weight.shape[0], rows // stride[0] + 1, columns // stride[0] + 1)
        bias = torch.zeros(weight.shape[0]) if bias is None else bias.float()
        pads = (top, top, left, left)
        self._add(fx, Node("conv", _name(fx), (self.known[given],), shape, weight.float(), bias,
                           (kh, kw), stride[0], pads, groups))  # fmt: skip

    def linear(self, fx: Fx) -> None:
        """linear, and addmm with a transposed weight."""
        args: Any = fx.args
        if fx.target is aten.addmm.default:
            bias, given, weight = self.constant(args[0]), args[1], self.constant(args[2])
            weight = None if weight is None else weight.T
        else:
            given, weight = args[0], self.constant(args[1])
            bias = self.constant(args[2]) if len(args) > 2 else None
        if weight is None:
            raise _refusal(fx, "linear with weights that are computed")
        channels, height, width = self.flat.get(given, self.shape(given))
        if channels * height * width != weight.shape[1]:
            raise _refusal(fx, "linear over one axis of a map", "flatten before it")
        kernel = weight.float().reshape(-1, channels, height, width)
        bias = torch.zeros(len(weight)) if bias is None else bias.float()
        self._add(fx, Node("conv", _name(fx), (self.known[given],), (len(weight), 1, 1), kernel,
                           bias, (height, width)))  # fmt: skip

    def flatten(self, fx: Fx) -> None:
        """flatten, view, reshape, squeeze to [B, C H W], or back to [B, C, 1, 1]."""
        given: Any = fx.args[0]
        shape = self.flat.get(given, self.shape(given))
        out = tuple(fx.meta["val"].shape[1:])
        if out == (math.prod(shape),):
            self._same(fx, given)
            self.flat[fx] = shape
        elif out == shape or (out == (shape[0], 1, 1) and shape[1:] == (1, 1)):
            self._same(fx, given)
            self.flat.pop(fx, None)
        else:
            raise _refusal(fx, f"reshape of {list(shape)} to {list(out)}", "only flatten is known")

    def norm(self, fx: Fx) -> None:
        """batch_norm in evaluation."""
        args: Any = fx.args
        given, gamma, beta, mean, variance = args[:5]
        eps = args[7] if fx.target is aten.batch_norm.default else args[6]
        self._no_map(fx, given, "batch norm")
        mean_of, variance_of = self.constant(mean), self.constant(variance)
        if mean_of is None or variance_of is None:
            raise _refusal(fx, "batch norm without running statistics", "net.eval() with them")
        factor = torch.rsqrt(variance_of.float() + eps)
        scale, bias = self.constant(gamma), self.constant(beta)
        factor = factor if scale is None else factor * scale.float()
        shift = -mean_of.float() * factor
        shift = shift if bias is None else shift + bias.float()
        self._add(fx, Node("affine", _name(fx), (self.known[given],), self.shape(given),
                           factor, shift))  # fmt: skip

    def clip(self, fx: Fx, slope: float, lift: float, low: float, high: float) -> None:
        """A straight line between two bounds."""
        given: Any = fx.args[0]
        self._keep_flat(fx, given)
        self._add(fx, Node("clip", _name(fx), (self.known[given],), self.shape(given),
                           slope=slope, lift=lift, bounds=(low, high)))  # fmt: skip

    def swish(self, fx: Fx) -> None:
        """Hard swish."""
        given: Any = fx.args[0]
        self._add(fx, Node("swish", _name(fx), (self.known[given],), self.shape(given)))

    def arithmetic(self, fx: Fx) -> None:
        """Add, subtract, multiply, divide: two maps, or a map and a constant."""
        name = str(fx.target).split(".")[1]
        args: Any = fx.args
        a, b = args[:2]
        for given in (a, b):
            if isinstance(given, Fx):
                self._no_map(fx, given, name)
        if fx.kwargs.get("alpha", 1) != 1:
            raise _refusal(fx, f"{name} with alpha", "multiply before it")
        if isinstance(a, Fx) and a in self.known and isinstance(b, Fx) and b in self.known:
            if name not in ("add", "mul"):
                raise _refusal(fx, f"{name} of two maps", "add or multiply")
            if name == "mul" and _size(self.shape(a)) < _size(self.shape(b)):
                a, b = b, a
            shape, other = self.shape(a), self.shape(b)
            if other != shape and not (name == "mul" and other == (shape[0], 1, 1)):
                raise _refusal(fx, f"{name} of {list(shape)} and {list(other)}", "equal shapes")
            reads = self.known[a], self.known[b]
            self._add(fx, Node("add" if name == "add" else "mul", _name(fx), reads, shape))
            return
        self._with_constant(fx, name, a, b)

    def _with_constant(self, fx: Fx, name: str, a: Any, b: Any) -> None:
        given, other = (a, b) if isinstance(a, Fx) and a in self.known else (b, a)
        value = self.constant(other)
        value = torch.as_tensor(float(other)) if value is None else value.float()
        channels, height, width = self.shape(given)
        if value.numel() != 1 and (value.numel() != channels or value.dim() < 3):
            what = f"{name} with a constant {list(value.shape)}"
            raise _refusal(fx, what, "one number a channel")
        value = value.flatten().expand(channels)
        one, none = torch.ones(channels), torch.zeros(channels)
        match name, given is a:
            case "add", _:
                weight, bias = one, value
            case "sub", True:
                weight, bias = one, -value
            case "sub", False:
                weight, bias = -one, value
            case "mul", _:
                weight, bias = value.clone(), none
            case "div", True:
                weight, bias = 1 / value, none
            case _:
                raise _refusal(fx, f"a constant {name} a map")
        shape = (channels, height, width)
        self._add(fx, Node("affine", _name(fx), (self.known[given],), shape, weight, bias))

    def pool(self, fx: Fx) -> None:
        """Average and max pools."""
        given: Any = fx.args[0]
        largest = "max" in str(fx.target)
        defaults: list[Any] = (
            [None, None, None, 0, 1, False] if largest else [None, None, None, 0, False, True, None]
        )
        args: list[Any] = [*fx.args, *defaults[len(fx.args) :]]
        kernel = _pair(args[1])
        stride, padding = _pair(args[2] or args[1]), _pair(args[3])
        ceil = args[5] if largest else args[4]
        if stride[0] != stride[1] or ceil or (largest and _pair(args[4]) != (1, 1)):
            raise _refusal(fx, "a pool with unequal strides, ceil_mode or dilation", "plain pools")
        if not largest and (any(padding) or args[6] is not None):
            raise _refusal(fx, "average pool with padding", "average pool without padding")
        channels, height, width = self.shape(given)
        out = ((height + 2 * padding[0] - kernel[0]) // stride[0] + 1,
               (width + 2 * padding[1] - kernel[1]) // stride[0] + 1)  # fmt: skip
        pads = (padding[0], padding[0], padding[1], padding[1])
        op: Op = "max" if largest else "mean"
        self._add(fx, Node(op, _name(fx), (self.known[given],), (channels, *out), kernel=kernel,
                           stride=stride[0], pads=pads))  # fmt: skip

    def whole(self, fx: Fx) -> None:
        """The mean over the image: adaptive_avg_pool2d to 1, or mean over height and width."""
        args: Any = fx.args
        given = args[0]
        if given in self.flat:
            raise _refusal(fx, "mean of a vector")
        channels, height, width = self.shape(given)
        if fx.target is aten.mean.dim:
            axes = sorted(axis % 4 for axis in args[1])
            if axes != [2, 3]:
                raise _refusal(fx, f"mean over axes {axes}", "mean over height and width")
        elif _pair(args[1]) != (1, 1):
            raise _refusal(fx, f"adaptive pool to {args[1]}", "adaptive pool to 1")
        self._add(fx, Node("mean", _name(fx), (self.known[given],), (channels, 1, 1),
                           kernel=(height, width), stride=max(height, width)))  # fmt: skip

    def concat(self, fx: Fx) -> None:
        """Channels side by side."""
        parts: Any = fx.args[0]
        axis = fx.args[1] if len(fx.args) > 1 else 0
        shapes = [self.shape(part) for part in parts]
        if axis not in (1, 1 - len(fx.meta["val"].shape)) or len({s[1:] for s in shapes}) > 1:
            raise _refusal(fx, f"concat along axis {axis}", "concat along channels")
        if any(part in self.flat and self.flat[part][1:] != (1, 1) for part in parts):
            raise _refusal(fx, "concat of flattened maps", "concat before flatten")
        reads = tuple(self.known[part] for part in parts)
        shape = (sum(s[0] for s in shapes), *shapes[0][1:])
        self._add(fx, Node("concat", _name(fx), reads, shape))

    def _keep_flat(self, fx: Fx, given: Fx) -> None:
        if given in self.flat:
            self.flat[fx] = self.flat[given]

    def _no_map(self, fx: Fx, given: Fx, what: str) -> None:
        """Refuse what would need a flattened map by its places."""
        if self.flat.get(given, (1, 1, 1))[1:] != (1, 1):
            raise _refusal(fx, f"{what} of a flattened map", f"{what} before flatten")


def _clip(slope: float, lift: float, low: float, high: float) -> Callable[[_Reader, Fx], None]:
    return lambda reader, fx: reader.clip(fx, slope, lift, low, high)


def _tanh(reader: _Reader, fx: Fx) -> None:
    """hardtanh and clamp with numbers."""
    args: Any = [*fx.args, *((None, -1.0, 1.0) if "tanh" in str(fx.target) else (None,) * 3)[
        len(fx.args) :]]  # fmt: skip
    low, high = args[1:3]
    reader.clip(fx, 1, 0, -math.inf if low is None else float(low),
                math.inf if high is None else float(high))  # fmt: skip


READERS: dict[Any, Callable[[_Reader, Fx], None]] = {
    aten.conv2d.default: _Reader.conv,
    aten.conv2d.padding: _Reader.conv,
    aten.convolution.default: _Reader.conv,
    aten.linear.default: _Reader.linear,
    aten.addmm.default: _Reader.linear,
    aten.batch_norm.default: _Reader.norm,
    aten._native_batch_norm_legit_no_training.default: _Reader.norm,
    aten.relu.default: _clip(1, 0, 0, math.inf),
    aten.relu6.default: _clip(1, 0, 0, 6),
    aten.hardsigmoid.default: _clip(1 / 6, 0.5, 0, 1),
    aten.hardtanh.default: _tanh,
    aten.clamp.default: _tanh,
    aten.hardswish.default: _Reader.swish,
    aten.add.Tensor: _Reader.arithmetic,
    aten.sub.Tensor: _Reader.arithmetic,
    aten.mul.Tensor: _Reader.arithmetic,
    aten.div.Tensor: _Reader.arithmetic,
    aten.avg_pool2d.default: _Reader.pool,
    aten.max_pool2d.default: _Reader.pool,
    aten.max_pool2d_with_indices.default: _Reader.pool,
    aten.adaptive_avg_pool2d.default: _Reader.whole,
    aten._adaptive_avg_pool2d.default: _Reader.whole,
    aten.mean.dim: _Reader.whole,
    aten.cat.default: _Reader.concat,
    aten.flatten.using_ints: _Reader.flatten,
    aten.view.default: _Reader.flatten,
    aten.reshape.default: _Reader.flatten,
    aten._unsafe_view.default: _Reader.flatten,
    aten.squeeze.dims: _Reader.flatten,
    aten.squeeze.dim: _Reader.flatten,
    aten.unsqueeze.default: _Reader.flatten,
}
"""ATen operation -> its translation."""


def _pair(value: Any) -> tuple[int, int]:
    pair = [value] * 2 if isinstance(value, int) else list(value) * (2 // len(value))
    return int(pair[0]), int(pair[1])


def _padding(value: Any, weight: Tensor) -> tuple[int, int]:
    if value == "valid":
        return 0, 0
    if value == "same":
        kh, kw = weight.shape[2:]
        if not (kh % 2 and kw % 2):
            raise DfedgeError("convolution with padding 'same' and an even kernel: use odd kernels")
        return kh // 2, kw // 2
    return _pair(value)


def _size(shape: Shape) -> int:
    return math.prod(shape)


def _finite(value: Tensor, name: str) -> Tensor:
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise DfedgeError(f"the net's {name} holds values that are not finite; train it again")
    return value


def _name(fx: Fx) -> str:
    """The module that an operation belongs to, else the graph's own name of it."""
    stack = fx.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    return paths[-1] if paths else fx.name


def _line(fx: Fx) -> str:
    """``file:line`` of the innermost frame that is not torch's own, or nothing."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', fx.meta.get("stack_trace") or "")
    own = [frame for frame in frames if "/torch/" not in frame[0]]
    return ":".join((own or frames or [("", "")])[-1]).strip(":")


def _refusal(fx: Fx, what: str, instead: str = "") -> DfedgeError:
    hint = next((text for part, text in REMEDIES.items() if part in what), "")
    instead = f"allowed: {instead}" if instead else hint or (
        "allowed: convolution, linear, batch norm, ReLU, ReLU6, hard swish, hard sigmoid, add, "
        "multiply, concat, average and max pool, mean over the image, flatten, dropout"
    )  # fmt: skip
    line = _line(fx)
    return DfedgeError(
        f"operation '{what}' at node '{fx.name}' (module '{_name(fx)}'"
        f"{f', {line}' if line else ''}) cannot be adopted; {instead}"
    )
