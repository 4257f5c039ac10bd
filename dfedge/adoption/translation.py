"""What the readers share: foreign values, and every operation's translation from plain numbers.

A reader knows one framework's graph; it says of each operation which values and constants go in.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor

from dfedge.adoption.graph import Graph, Node, Op, Shape
from dfedge.adoption.refusal import Site, refusal
from dfedge.errors import DfedgeError

K = TypeVar("K", bound=Hashable)
"""What a framework names its values by."""
Two = tuple[int, int]
Pads = tuple[int, int, int, int]
Arithmetic = Literal["add", "sub", "mul", "div"]
MOST_VALUES = 1 << 26
"""Of an operation's result for one image, and of a constant: a file may ask for any size."""


@dataclass(frozen=True)
class Value:
    """An operation's result.

    Attributes:
        number: of the operation.
        dims: as the foreign net sees it, without the batch: [C, H, W], or flattened.
    """

    number: int
    dims: tuple[int, ...]


class Translation(Generic[K]):
    """One net on its way: operations so far, and what each foreign value is."""

    site: Site
    """Of the operation at work."""
    key: K
    """Of its result."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.values: dict[K, Value] = {}
        self.constants: dict[K, Tensor] = {}

    def begin(self, key: K, site: Site) -> None:
        """Turn to the next operation."""
        self.key, self.site = key, site

    def input(self, key: K, dims: Sequence[Any]) -> None:
        """Take the image; ``dims`` with the batch, anything but a number where it is open."""
        if self.nodes or len(dims) != 4:
            raise DfedgeError(
                f"the net takes '{key}'; allowed: one input, images float [B, C, H, W]"
            )
        shape = dims[1:]
        if not all(isinstance(side, int) for side in shape):
            raise DfedgeError(
                f"the net's input has a dynamic shape {list(shape)}; export it for one image size "
                "(only the batch may be dynamic)"
            )
        sides = (int(shape[0]), int(shape[1]), int(shape[2]))
        if not 1 <= min(sides) <= math.prod(sides) <= MOST_VALUES:
            raise DfedgeError(
                f"the net takes images {list(sides)}; allowed: sides from 1 up and at most "
                f"{MOST_VALUES:,} values"
            )
        self.nodes.append(Node("input", str(key), (), sides))
        self.values[key] = Value(0, sides)

    def keep(self, key: K, name: str, constant: Tensor) -> None:
        """Take a constant.

        Raises:
            DfedgeError: it is not finite.
        """
        if constant.is_floating_point() and not torch.isfinite(constant).all():
            raise DfedgeError(f"the net's {name} holds values that are not finite; train it again")
        self.constants[key] = constant

    def graph(self, results: Sequence[K], classes: int) -> Graph:
        """What was translated, up to the net's result.

        Raises:
            DfedgeError: not one result, or not one score per class.
        """
        if len(results) != 1 or results[0] not in self.values:
            raise DfedgeError(
                f"the net returns {len(results)} results; allowed: one score per class"
            )
        last = self.values[results[0]].number
        channels, height, width = self.nodes[last].shape
        if (channels * height * width, height, width) != (classes, 1, 1):
            raise DfedgeError(
                f"the net's output is {channels} x {height} x {width} a sample, and the data have "
                f"{classes} classes; allowed: one score per class"
            )
        return Graph(self.nodes[: last + 1])

    def refusal(self, what: str = "", instead: str = "") -> DfedgeError:
        """Make the error for the operation at work."""
        return refusal(self.site, what, instead)

    # -- operands -----------------------------------------------------------------------------

    def value(self, key: K) -> Value:
        """An operand that was computed from the image."""
        if key not in self.values:
            raise self.refusal(f"{self.site.what} of '{key}'", "what is computed from the image")
        return self.values[key]

    def shape(self, key: K) -> Shape:
        """Of the operation that an operand comes from."""
        return self.nodes[self.value(key).number].shape

    def map(self, key: K) -> Shape:
        """Of an operand that is not flattened."""
        if len(self.value(key).dims) != 3:
            raise self.refusal(f"{self.site.what} of a vector", "it before flatten")
        return self.shape(key)

    def weights(self, key: K) -> Tensor:
        """An operand that is a constant, in float."""
        if key not in self.constants:
            raise self.refusal(f"{self.site.what} with weights that are computed", "constants")
        return self._real(self.constants[key])

    def _real(self, constant: Tensor) -> Tensor:
        if constant.is_complex():
            raise self.refusal(f"{self.site.what} with complex numbers", "real ones")
        return constant.float()

    def check_size(self, count: int) -> None:
        """Refuse a result of more values than any net for a device has.

        Raises:
            DfedgeError: naming the operation.
        """
        if count > MOST_VALUES:
            what = f"{self.site.what} with a result of {count:,} values"
            raise self.refusal(what, f"at most {MOST_VALUES:,}")

    def _check_shape(self, shape: Shape) -> None:
        if min(shape) < 1:
            raise self.refusal(f"{self.site.what} with a result {list(shape)}", "larger images")
        self.check_size(math.prod(shape))

    def _add(
        self,
        op: Op,
        given: Sequence[K],
        shape: Shape,
        dims: tuple[int, ...] | None = None,
        **rest: Any,
    ) -> None:
        self._check_shape(shape)
        reads = tuple(self.value(key).number for key in given)
        node = Node(op, self.site.name, reads, shape, where=self.site.line, **rest)
        if len(node.bias) not in (0, shape[0]):
            what = f"{self.site.what} with {len(node.bias)} numbers"
            raise self.refusal(what, f"{shape[0]}, one a channel")
        if not all(bool(torch.isfinite(part).all()) for part in (node.weight, node.bias)):
            raise self.refusal(f"{self.site.what} with numbers that are not finite", "finite ones")
        self.nodes.append(node)
        self.values[self.key] = Value(len(self.nodes) - 1, shape if dims is None else dims)

    # -- operations ---------------------------------------------------------------------------

    def same(self, given: K) -> None:
        """An operation that changes no number."""
        if given in self.constants:
            self.constants[self.key] = self.constants[given]
        else:
            self.values[self.key] = self.value(given)

    def conv(
        self,
        given: K,
        weight: Tensor,
        bias: Tensor | None,
        stride: Two,
        pads: Pads,
        dilation: Two,
        groups: int,
    ) -> None:
        """Convolution; weight [O, C/groups, kh, kw], pads above, below, left, right."""
        channels, height, width = self.map(given)
        if weight.dim() != 4 or weight.shape[1] * groups != channels:
            raise self.refusal("convolution other than 2-d")
        if stride[0] != stride[1]:
            raise self.refusal(f"convolution with stride {stride}", "equal strides both ways")
        if dilation != (1, 1):
            raise self.refusal(f"convolution with dilation {dilation}", "dilation 1")
        out, _, kh, kw = weight.shape
        if groups > 1 and (groups, out) != (channels, channels):
            self.check_size(out * channels * kh * kw)  # as a whole convolution
        sides = _windows((height, width), (kh, kw), stride[0], pads)
        bias = torch.zeros(out) if bias is None else bias
        self._add("conv", [given], (out, *sides), weight=weight, bias=bias, kernel=(kh, kw),
                  stride=stride[0], pads=pads, groups=groups)  # fmt: skip

    def linear(self, given: K, weight: Tensor, bias: Tensor | None) -> None:
        """``weight x + bias`` of a vector; weight [O, I], bias [O]."""
        value, shape = self.value(given), self.shape(given)
        if weight.dim() != 2 or value.dims != (weight.shape[1],):
            raise self.refusal("linear over one axis of a map", "flatten before it")
        bias = torch.zeros(len(weight)) if bias is None else bias
        self._add("conv", [given], (len(weight), 1, 1), (len(weight),),
                  weight=weight.reshape(-1, *shape), bias=bias, kernel=shape[1:])  # fmt: skip

    def norm(
        self,
        given: K,
        gamma: Tensor | None,
        beta: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        eps: float,
    ) -> None:
        """Batch norm in evaluation, [C] each."""
        factor = torch.rsqrt(variance + eps)
        factor = factor if gamma is None else factor * gamma
        shift = -mean * factor
        self._affine(given, factor, shift if beta is None else shift + beta)

    def _affine(self, given: K, weight: Tensor, bias: Tensor) -> None:
        value, shape = self.value(given), self.shape(given)
        if value.dims[0] != shape[0]:
            raise self.refusal(f"{self.site.what} of a flattened map", "it before flatten")
        self._add("affine", [given], shape, value.dims, weight=weight, bias=bias)

    def clip(self, given: K, slope: float, lift: float, low: float, high: float) -> None:
        """A straight line between two bounds."""
        self._add("clip", [given], self.shape(given), self.value(given).dims, slope=slope,
                  lift=lift, bounds=(low, high))  # fmt: skip

    def function(self, given: K, function: Callable[[Tensor], Tensor]) -> None:
        """A function of one value, the same for every value."""
        self._add("function", [given], self.shape(given), self.value(given).dims,
                  function=function)  # fmt: skip

    def leaky(self, given: K, slope: Tensor) -> None:
        """``max(0, x) + slope min(0, x)``, one slope or one a channel."""
        if slope.numel() == 1:
            number = float(slope)
            self.function(given, lambda x: x.clamp(min=0) + number * x.clamp(max=0))
            return
        channels = self.shape(given)[0]
        if slope.numel() != channels or slope.shape[:1] not in ((1,), (channels,)):
            what = f"{self.site.what} with slopes {list(slope.shape)}"
            raise self.refusal(what, "one number, or one a channel")
        made = self.key
        self.clip(given, 1, 0, 0, math.inf)
        above = self.values[made]
        self.clip(given, 1, 0, -math.inf, 0)
        self._affine(made, slope.flatten(), torch.zeros(channels))
        below = self.values[made]
        node = Node("add", self.site.name, (above.number, below.number), self.shape(given),
                    where=self.site.line)  # fmt: skip
        self.nodes.append(node)
        self.values[made] = replace(above, number=len(self.nodes) - 1)

    def combine(self, op: Arithmetic, a: K, b: K) -> None:
        """Two values: equal shapes, or in a product one side with one number a channel.

        A difference is a sum with the negative, a quotient a product with the reciprocal.
        """
        if op in ("sub", "div"):
            if op == "sub":
                ones = torch.ones(self.shape(b)[0])
                self._affine(b, -ones, 0 * ones)
            else:
                self.function(b, torch.reciprocal)
            b = self.key
        product = op in ("mul", "div")
        if product and math.prod(self.shape(a)) < math.prod(self.shape(b)):
            a, b = b, a
        one, other = self.value(a).dims, self.value(b).dims
        gated = product and len(one) == 3 and other == (one[0], 1, 1)
        if not gated and (one != other or self.shape(a) != self.shape(b)):
            raise self.refusal(f"{op} of {list(one)} and {list(other)}", "equal shapes")
        self._add("mul" if product else "add", [a, b], self.shape(a), one)

    def with_constant(self, op: Arithmetic, given: K, constant: Tensor, swapped: bool) -> None:
        """A value and a constant; ``swapped``: the constant stands on the left."""
        dims, channels = self.value(given).dims, self.shape(given)[0]
        missing = 1 + len(dims) - constant.dim()
        broadcast = (1,) * missing + tuple(constant.shape)
        allowed = [(1,) * (1 + len(dims)), (1, channels, *(1 for _ in dims[1:]))]
        if missing < 0 or broadcast not in allowed:
            what = f"{op} with a constant {list(constant.shape)}"
            raise self.refusal(what, "one number, or one a channel")
        value = self._real(constant).flatten()
        one, none = torch.ones_like(value), torch.zeros_like(value)
        match op, swapped:
            case "add", _:
                weight, bias = one, value
            case "sub", False:
                weight, bias = one, -value
            case "sub", True:
                weight, bias = -one, value
            case "mul", _:
                weight, bias = value, none
            case "div", False:
                weight, bias = 1 / value, none
            case _:
                raise self.refusal(f"a constant {op} a map", "multiply")
        self._affine(given, weight.expand(channels).clone(), bias.expand(channels).clone())

    def pad(self, given: K, pads: Pads) -> None:
        """Zeros around a map: a convolution that hands on what it sees."""
        channels, height, width = self.map(given)
        if min(pads) < 0:
            raise self.refusal(f"{self.site.what} with negative pads", "pads from 0 up")
        sides = _windows((height, width), (1, 1), 1, pads)
        self._add("conv", [given], (channels, *sides), weight=torch.ones(channels, 1, 1, 1),
                  bias=torch.zeros(channels), pads=pads, groups=channels)  # fmt: skip

    def pool(
        self,
        op: Op,
        given: K,
        kernel: Two,
        stride: Two,
        pads: Pads,
        dilation: Two,
        ceil: bool,
        zeros: bool = False,
    ) -> None:
        """Average ("mean") and max pools.

        Args:
            ceil: a last window that is not full counts.
            zeros: padding counts in a mean, as zeros.
        """
        channels, height, width = self.map(given)
        if stride[0] != stride[1] or dilation != (1, 1):
            raise self.refusal("a pool with unequal strides or dilation", "plain pools")
        if any(pad >= kernel[i // 2] for i, pad in enumerate(pads)):
            raise self.refusal("a pool with windows that see padding alone", "less padding")
        if ceil:
            below = _unfilled(height, kernel[0], stride[0], pads[:2])
            right = _unfilled(width, kernel[1], stride[0], pads[2:])
            if op == "mean" and (below or right):
                raise self.refusal("average pool with ceil_mode", "full windows")
            pads = (pads[0], pads[1] + below, pads[2], pads[3] + right)
        sides = _windows((height, width), kernel, stride[0], pads)
        if op == "mean" and any(pads):
            if not zeros:
                raise self.refusal(
                    "average pool with padding that does not count",
                    "average pool without padding, or count_include_pad",
                )
            self._check_shape((channels, *kernel))
            weight = torch.full((channels, 1, *kernel), 1 / math.prod(kernel))
            self._add("conv", [given], (channels, *sides), weight=weight,
                      bias=torch.zeros(channels), kernel=kernel, stride=stride[0], pads=pads,
                      groups=channels)  # fmt: skip
            return
        self._add(op, [given], (channels, *sides), kernel=kernel, stride=stride[0], pads=pads)

    def adaptive(self, op: Op, given: K, sides: Two) -> None:
        """A pool to a size, where windows are equal and do not overlap."""
        _, height, width = self.map(given)
        if sides == (height, width):
            self.same(given)
            return
        kernel = height // sides[0], width // sides[1]
        if (kernel[0] * sides[0], kernel[1] * sides[1]) != (height, width):
            raise self.refusal(
                f"adaptive pool from {height} x {width} to {sides[0]} x {sides[1]}",
                "to 1, or to sides that divide the map's: other image sizes may",
            )
        stride = (max(kernel), max(kernel)) if sides == (1, 1) else kernel
        self.pool(op, given, kernel, stride, (0, 0, 0, 0), (1, 1), ceil=False)

    def whole(self, given: K, keep: bool) -> None:
        """The mean over the image; ``keep``: as [C, 1, 1]."""
        channels, height, width = self.map(given)
        dims = (channels, 1, 1) if keep else (channels,)
        self._add("mean", [given], (channels, 1, 1), dims, kernel=(height, width),
                  stride=max(height, width))  # fmt: skip

    def concat(self, parts: Sequence[K], axis: int) -> None:
        """Channels side by side; ``axis`` counts the batch."""
        shapes, dims = [self.shape(part) for part in parts], [self.value(p).dims for p in parts]
        rank = 1 + len(dims[0])
        alike = len({(len(d), *s[1:]) for d, s in zip(dims, shapes, strict=True)}) == 1
        if axis % rank != 1 or not alike:
            raise self.refusal(f"concat along axis {axis}", "concat along channels")
        if any(d[0] != s[0] for d, s in zip(dims, shapes, strict=True)):
            raise self.refusal("concat of flattened maps", "concat before flatten")
        channels = sum(s[0] for s in shapes)
        self._add("concat", parts, (channels, *shapes[0][1:]), (channels, *dims[0][1:]))

    def reshape(self, given: K, out: tuple[int, ...]) -> None:
        """To a vector, or back to [C, 1, 1]; ``out`` without the batch."""
        value, shape = self.value(given), self.shape(given)
        if out not in ((math.prod(shape),), shape):
            raise self.refusal(
                f"reshape of {list(value.dims)} to {list(out)}",
                "only flatten is known; replace a channel shuffle by a 1 x 1 convolution",
            )
        self.values[self.key] = Value(value.number, out)


def _unfilled(side: int, kernel: int, stride: int, pads: Sequence[int]) -> int:
    """By how much the last window leaves the image when one that is not full counts."""
    rest = side + sum(pads) - kernel
    windows = -(-rest // stride)
    if windows * stride >= side + pads[0]:
        windows -= 1  # it would begin in the padding below
    return max(windows * stride - rest, 0)


def _windows(sides: Two, kernel: Two, stride: int, pads: Pads) -> Two:
    rows = (sides[0] + pads[0] + pads[1] - kernel[0]) // stride + 1
    return rows, (sides[1] + pads[2] + pads[3] - kernel[1]) // stride + 1
