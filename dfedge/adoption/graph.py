"""A foreign net as a list of float operations, each made from those before it."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Shape = tuple[int, int, int]
"""[C, H, W]; a vector is [C, 1, 1]."""
Op = Literal["input", "conv", "affine", "clip", "function", "add", "mul", "mean", "max", "concat",
             "select", "gather"]  # fmt: skip
Stride = int | tuple[int, int]
"""Both ways, or down and across where they differ."""
EVERYTHING = (-math.inf, math.inf)
PIECE = 1 << 21
"""Numbers of the largest map of the images that go into a net at a time."""


def steps(stride: Stride) -> tuple[int, int]:
    """Down and across."""
    return (stride, stride) if isinstance(stride, int) else stride


@dataclass
class ForeignNode:
    """One operation.

    Attributes:
        name: of the module, or of the graph's node, that it comes from.
        reads: numbers of the operations whose results go in.
        shape: of its result.
        weight, bias: conv: [O, C/groups, kh, kw] and [O]; affine: [C] each.
        kernel, stride, pads: conv, mean and max; pads above, below, left, right; a mean does not
            count them.
        channels: select: of what goes in, by number, in the order of its result.
        rows, columns: gather: likewise.
        slope, lift: clip: ``slope x + lift`` before the bounds.
        function: of one value, whatever the shape; float to float.
        entry, exit: function and clip: [C], what each channel of what it reads is divided by
            first, and its result multiplied by last; empty: nothing.
        bounds: what the result is kept within, after everything else.
        ceiling: conv: [C], what each channel is kept below as well; empty: nothing.
        where: the line of the user's source.
    """

    op: Op
    name: str
    reads: tuple[int, ...]
    shape: Shape
    weight: Tensor = field(default_factory=lambda: torch.empty(0))
    bias: Tensor = field(default_factory=lambda: torch.empty(0))
    kernel: tuple[int, int] = (1, 1)
    stride: Stride = 1
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    slope: float = 1.0
    lift: float = 0.0
    channels: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()
    function: Callable[[Tensor], Tensor] = torch.clone
    bounds: tuple[float, float] = EVERYTHING
    ceiling: Tensor = field(default_factory=lambda: torch.empty(0))
    entry: Tensor = field(default_factory=lambda: torch.empty(0))
    exit: Tensor = field(default_factory=lambda: torch.empty(0))
    where: str = ""

    @property
    def by_channel(self) -> bool:
        """Whether a function differs from one channel to the next."""
        return len(self.entry) > 0

    def run(self, given: Sequence[Tensor]) -> Tensor:
        """In float: [B, C, H, W] each."""
        x = given[0] / self.entry[:, None, None] if len(self.entry) else given[0]
        top, bottom, left, right = self.pads
        match self.op:
            case "conv":
                y = self._conv(F.pad(x, (left, right, top, bottom)) if any(self.pads) else x)
            case "affine":
                y = x * self.weight[:, None, None] + self.bias[:, None, None]
            case "clip":
                y = self.slope * x + self.lift
            case "function":
                y = self.function(x)
            case "add":
                y = x + given[1]
            case "mul":
                y = x * given[1]
            case "mean":
                y = self._mean(x)
            case "max":
                y = F.max_pool2d(
                    F.pad(x, (left, right, top, bottom), value=-math.inf), self.kernel, self.stride
                )
            case "concat":
                y = torch.cat(list(given), 1)
            case "select":
                y = x[:, list(self.channels)]
            case "gather":
                y = x[:, :, list(self.rows)][:, :, :, list(self.columns)]
            case "input":
                y = x
        low, high = self.bounds
        if len(self.ceiling):
            y = torch.minimum(y, self.ceiling[:, None, None])
        y = y if self.bounds == EVERYTHING else y.clamp(low, high)
        return y * self.exit[:, None, None] if len(self.exit) else y

    def _conv(self, x: Tensor) -> Tensor:
        """In float64 where strides differ: torch's float32 sums wrongly then, for one channel.

        Over a whole map it is a linear layer, by which torch multiplies ten times as fast.
        """
        if x.shape[2:] == self.weight.shape[2:] and self.groups == 1:
            return F.linear(x.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None]
        dtype = x.dtype if isinstance(self.stride, int) else torch.float64
        seen, weight, bias = (one.to(dtype) for one in (x, self.weight, self.bias))
        return F.conv2d(seen, weight, bias, self.stride, groups=self.groups).to(x.dtype)

    def _mean(self, x: Tensor) -> Tensor:
        """Over what of a window lies inside."""
        if not any(self.pads):
            return F.avg_pool2d(x, self.kernel, self.stride)
        top, bottom, left, right = self.pads
        both = (F.pad(one, (left, right, top, bottom)) for one in (x, torch.ones_like(x[:1, :1])))
        total, count = (F.avg_pool2d(one, self.kernel, self.stride) for one in both)
        return total / count


def average(of: int, node: ForeignNode, name: str) -> ForeignNode:
    """The mean of a map: of operation number ``of``, which is ``node``."""
    channels, height, width = node.shape
    return ForeignNode(
        "mean", name, (of,), (channels, 1, 1), kernel=(height, width), stride=max(height, width)
    )


@dataclass
class ForeignGraph:
    """Operations in order; the first is the image, the last gives the scores.

    Attributes:
        left_out: what followed the scores and changes no order of them, in words.
        embeds: its result is no scores, but features for other layers.
    """

    nodes: list[ForeignNode]
    left_out: tuple[str, ...] = ()
    embeds: bool = False

    def readers(self, number: int) -> list[int]:
        """Who reads a result."""
        return [i for i, node in enumerate(self.nodes) if number in node.reads]

    @torch.no_grad()
    def run(self, x: Tensor, until: int | None = None) -> Iterator[tuple[int, Tensor]]:
        """Every result [B, C, H, W] in order, up to an operation; what is read no more is freed."""
        last = {read: i for i, node in enumerate(self.nodes) for read in node.reads}
        values: dict[int, Tensor] = {}
        for i, node in enumerate(self.nodes[: None if until is None else until + 1]):
            values[i] = node.run([values[read] for read in node.reads] or [x])
            yield i, values[i]
            for read in node.reads:
                if last[read] == i:
                    values.pop(read, None)

    def largest(self, until: int | None = None) -> int:
        """Numbers of the largest map of one image, up to an operation."""
        nodes = self.nodes[: None if until is None else until + 1]
        return max(math.prod(node.shape) for node in nodes)

    def at_once(self, until: int | None = None) -> int:
        """Images whose largest map has `PIECE` numbers."""
        return max(PIECE // self.largest(until), 1)

    def result(self, x: Tensor, until: int | None = None) -> Tensor:
        """The last of `run`."""
        return deque(self.run(x, until), 1)[0][1]


def dense(weight: Tensor, groups: int) -> Tensor:
    """A convolution by groups, [O, C/groups, kh, kw], as a whole one: zeros between the groups."""
    if groups == 1:
        return weight
    out, each = weight.shape[:2]
    whole = weight.new_zeros(out, each * groups, *weight.shape[2:])
    for g in range(groups):
        rows = slice(g * out // groups, (g + 1) * out // groups)
        whole[rows, g * each : (g + 1) * each] = weight[rows]
    return whole
