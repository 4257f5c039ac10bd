"""The operations below the learning layers, as integer ones: calibrated on samples, one by one.

Every result has one scale and one zero, ``q = v scale + zero``, chosen so that rounding and
saturation lose least.  A convolution's weights absorb what is no power of two of the ratio of two
scales, so a right shift, one for each output channel, is all that its accumulator needs.  Its bias
then takes up the mean error that is left.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from dfedge.adoption.functions import same
from dfedge.adoption.graph import Graph, Node, dense
from dfedge.errors import DfedgeError
from dfedge.int8.ops.values import ACTIVATION_MAX, BIAS_MAX, WEIGHT_MAX
from dfedge.int8.rounding import round_half_up
from dfedge.int8.scales import INPUT_EXPONENT
from dfedge.int8.trunk import apply
from dfedge.learn.explain import snr
from dfedge.learn.recipe import Recipe
from dfedge.operations import (
    Add,
    AnyOperation,
    AveragePool,
    Concat,
    Convolution,
    Lookup,
    MaxPool,
    Multiply,
    Pad,
    Select,
    Shape,
)
from dfedge.operations.lookup import LEVELS
from dfedge.trunk import Trunk

MOST_SHIFT = 22
"""So that 128 times 2^shift is within 2^29."""
SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4)
SEEN = 100_000
"""Values of a result that its scale is chosen by."""
Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Range:
    """``q = v scale + zero``."""

    scale: float
    zero: int


@dataclass(frozen=True)
class Loss:
    """What an operation lost on the samples.

    Attributes:
        snr: signal to noise in dB, of everything up to here; of a result that only a function
            reads, that function's.
    """

    name: str
    op: str
    snr: float


def choose(
    values: Tensor,
    observer: str,
    percentile: float,
    through: Callable[[Tensor], Tensor] | None = None,
) -> Range:
    """The range of a result: whole, up to a percentile, or that of least squared error.

    Args:
        through: the one function that reads it, whose result the error is then of: what saturates
            anyway needs no range of its own.
    """
    flat = values.flatten()
    seen = flat[_spread(len(flat))]
    low, high = min(float(flat.min()), 0.0), max(float(flat.max()), 0.0)
    if observer == "percentile":
        part = percentile / 100
        low, high = min(float(seen.quantile(1 - part)), 0.0), max(float(seen.quantile(part)), 0.0)
    shrinks = SHRINKS if observer == "mse" else (1.0,)
    pairs = product(shrinks, shrinks) if through else zip(shrinks, shrinks, strict=True)
    ranges = [_range(low * below, high * above) for below, above in pairs]
    end = through or same
    wanted = end(seen)

    def loss(of: Range) -> float:
        return float((end(_real(_integer(seen, of), of)) - wanted).square().sum())

    return min(ranges, key=loss)


def _spread(count: int) -> Tensor:
    """Up to `SEEN` places from the first to the last; float32 would round past 2^24."""
    return torch.linspace(0, count - 1, min(SEEN, count), dtype=torch.float64).long()


def _range(low: float, high: float) -> Range:
    scale = ACTIVATION_MAX / max(high - low, 1e-6)
    return Range(scale, min(round(-low * scale), ACTIVATION_MAX))


def _integer(values: Tensor, of: Range) -> Tensor:
    return round_half_up(values * of.scale + of.zero).clamp(0, ACTIVATION_MAX)


def _real(q: Tensor, of: Range) -> Tensor:
    return (q - of.zero) / of.scale


def fixed(ratios: tuple[float, ...], largest: int) -> tuple[tuple[int, ...], int]:
    """Ratios as integers over one power of two, none above ``largest``: (factors, shift)."""
    top = max(max(abs(ratio) for ratio in ratios), 1e-12)
    shift = min(max(math.floor(math.log2(largest / top)), 0), MOST_SHIFT)
    factors = tuple(round(ratio * 2**shift) for ratio in ratios)
    if max(abs(factor) for factor in factors) > largest:
        raise DfedgeError(
            f"two scales of the net differ by a factor of {top:g}; the integer operations hold "
            f"{largest}"
        )
    return factors, shift


def _start(zero: float, shift: int) -> int:
    """What a sum begins with so that ``>> shift`` rounds half up to values around a zero."""
    return round(zero * 2**shift) + ((1 << shift) >> 1)


class Quantiser:
    """The graph's operations up to one of them, as a trunk."""

    def __init__(self, graph: Graph, recipe: Recipe) -> None:
        self.graph, self.recipe = graph, recipe
        self.operations: list[AnyOperation] = []
        self.constants: dict[str, Tensor] = {}
        self.ranges: dict[int, Range] = {0: Range(2.0**INPUT_EXPONENT, 0)}
        self.made: dict[int, int] = {0: 0}
        self.values: dict[int, Tensor] = {}
        self.losses: list[Loss] = []

    @torch.no_grad()
    def trunk(self, x: Tensor, until: int, watch: Watch) -> Trunk:
        """Translate.

        Args:
            x: int8 [N, H, W, C], samples.
            until: number of the last operation.
        """
        self.values[0] = x
        real = x.permute(0, 3, 1, 2).float() * 2.0**-INPUT_EXPONENT
        for i, value in self.graph.run(real, until):
            watch("quantise", i, until + 1)
            if i:
                self._translate(i, value)
                self._release(i)
        _, height, width = self.graph.nodes[0].shape
        last = self.ranges[until]
        shape = (height, width, self.graph.nodes[0].shape[0])
        return Trunk(shape, tuple(self.operations), last.zero, last.scale)

    def _release(self, i: int) -> None:
        later = {read for node in self.graph.nodes[i + 1 :] for read in node.reads}
        kept = {self.made[number] for number in later if number in self.made}
        kept.add(len(self.operations))
        self.values = {place: v for place, v in self.values.items() if place in kept}

    def _append(self, record: AnyOperation) -> Tensor:
        number = len(self.operations)
        self.operations.append(record)
        given = [self.values[read] for read in record.reads]
        self.values[number + 1] = apply(record, number, self.constants, given)
        return self.values[number + 1]

    def _translate(self, i: int, real: Tensor) -> None:
        node = self.graph.nodes[i]
        if not bool(torch.isfinite(real).all()):
            raise DfedgeError(
                f"operation '{node.name}' gives values that are not finite for these samples; "
                "give the mean and deviation that the net was trained with, or bound what goes in"
            )
        through, recipe = self._only_function(i), self.recipe
        if node.op in ("max", "select"):
            self.ranges[i] = self.ranges[node.reads[0]]
        else:
            self.ranges[i] = choose(real, recipe.activations, recipe.percentile, through)
        q = getattr(self, f"_{node.op}")(i, node, real)
        self.made[i] = len(self.operations)
        found = _real(q.permute(0, 3, 1, 2).float(), self.ranges[i])
        end = through or same
        self.losses.append(Loss(node.name, node.op, snr(end(real), end(found))))

    def _only_function(self, i: int) -> Callable[[Tensor], Tensor] | None:
        """Of a result that a function alone reads."""
        readers = self.graph.readers(i)
        node = self.graph.nodes[readers[0]] if len(readers) == 1 else None
        return (lambda v: node.run([v])) if node is not None and node.op == "function" else None

    def _shape(self, node: Node) -> Shape:
        channels, height, width = node.shape
        return height, width, channels

    # -- operations -----------------------------------------------------------------------------

    def _conv(self, i: int, node: Node, real: Tensor) -> Tensor:
        (read,) = node.reads
        given, own = self.ranges[read], self.ranges[i]
        place, pads = self.made[read], node.pads
        if any(pads) and given.zero:
            _, height, width = self.graph.nodes[read].shape
            channels = self.graph.nodes[read].shape[0]
            wide = (height + pads[0] + pads[1], width + pads[2] + pads[3], channels)
            self._append(Pad(node.name, (place,), wide, pads, given.zero))
            place, pads = len(self.operations), (0, 0, 0, 0)
        depthwise = node.groups == node.shape[0] == self.graph.nodes[read].shape[0] > 1
        weight = node.weight if depthwise else dense(node.weight, node.groups)
        target = weight.double() * (own.scale / given.scale)
        offset = node.bias.double() * own.scale + own.zero
        shifts = _shifts(target, offset)
        factor = torch.exp2(shifts)[:, None, None, None]
        w = round_half_up(target * factor).clamp(-WEIGHT_MAX, WEIGHT_MAX)
        b = offset * torch.exp2(shifts) - given.zero * w.sum((1, 2, 3))
        shift = int(shifts.max())
        peak = float((w.abs().sum((1, 2, 3)) * ACTIVATION_MAX + b.abs()).max())
        if peak >= 1 << 31:
            raise DfedgeError(
                f"operation '{node.name}' may sum up to {peak:.2g}, the integer operations "
                "hold 2^31; fewer channels or a smaller kernel fit"
            )
        record = Convolution(node.name, (place,), self._shape(node), node.kernel, node.stride, pads,
                        depthwise, shift)  # fmt: skip
        taps = w.permute(2, 3, 0, 1) if depthwise else w.permute(2, 3, 1, 0)
        number = len(self.operations)
        self.constants |= {
            f"{number}.weight": taps.reshape(-1, *taps.shape[2:]).to(torch.int8).contiguous(),
            f"{number}.bias": _bias(b),
            f"{number}.lift": torch.exp2(shift - shifts).to(torch.int32),
            f"{number}.limit": torch.exp2(7 + shifts).to(torch.int32),
        }
        q = self._append(record)
        # What rounding moved the mean of a channel by, where it is not at a bound.
        error = _real(q.permute(0, 3, 1, 2).double(), own) - real.double()
        inside = (q > 0).permute(0, 3, 1, 2) & (q < ACTIVATION_MAX).permute(0, 3, 1, 2)
        mean = (error * inside).sum((0, 2, 3)) / inside.sum((0, 2, 3)).clamp(min=1)
        corrected = b - mean * own.scale * torch.exp2(shifts)
        self.constants[f"{number}.bias"] = _bias(corrected)
        self.operations.pop()
        better = self._append(record)
        after = _real(better.permute(0, 3, 1, 2).double(), own) - real.double()
        if float(after.square().sum()) < float(error.square().sum()):
            return better
        self.constants[f"{number}.bias"] = _bias(b)
        self.values[number + 1] = q
        return q

    def _table(self, node: Node, read: int, of: Callable[[Tensor], Tensor], own: Range) -> Tensor:
        """A function of one value, from the scale of what it reads to a scale of its own."""
        given, shape = self.ranges[read], self._shape(self.graph.nodes[read])
        every = _real(torch.arange(LEVELS, dtype=torch.float64), given)
        number = len(self.operations)
        made = of(every).nan_to_num(0.0, 1e9, -1e9)  # where no sample comes
        self.constants[f"{number}.table"] = _integer(made, own).to(torch.int8)
        return self._append(Lookup(node.name, (self.made[read],), shape))

    def _function(self, i: int, node: Node, real: Tensor) -> Tensor:
        return self._table(node, node.reads[0], lambda v: node.run([v]), self.ranges[i])

    def _clip(self, i: int, node: Node, real: Tensor) -> Tensor:
        return self._function(i, node, real)

    def _add(self, i: int, node: Node, real: Tensor) -> Tensor:
        own = self.ranges[i]
        given = [self.ranges[read] for read in node.reads]
        (factor, other), shift = fixed(tuple(own.scale / g.scale for g in given), 1 << 20)
        offset = _start(own.zero, shift) - factor * given[0].zero - other * given[1].zero
        places = tuple(self.made[read] for read in node.reads)
        return self._append(
            Add(node.name, places, self._shape(node), (factor, other), offset, shift)
        )

    def _mul(self, i: int, node: Node, real: Tensor) -> Tensor:
        own, (a, g) = self.ranges[i], (self.ranges[read] for read in node.reads)
        (factor,), shift = fixed((own.scale / (a.scale * g.scale),), 1 << 14)
        offset = _start(own.zero, shift)
        places = tuple(self.made[read] for read in node.reads)
        zeros = (a.zero, g.zero)
        return self._append(
            Multiply(node.name, places, self._shape(node), zeros, factor, offset, shift)
        )

    def _mean(self, i: int, node: Node, real: Tensor) -> Tensor:
        own, given = self.ranges[i], self.ranges[node.reads[0]]
        count = node.kernel[0] * node.kernel[1]
        (factor,), shift = fixed((own.scale / (given.scale * count),), (1 << 29) // (127 * count))
        if any(node.pads):
            return self._append(AveragePool(node.name, (self.made[node.reads[0]],),
                                  self._shape(node), node.kernel, node.stride, factor,
                                  _start(own.zero, shift), shift, node.pads,
                                  given.zero))  # fmt: skip
        offset = _start(own.zero, shift) - factor * given.zero * count
        return self._append(AveragePool(node.name, (self.made[node.reads[0]],), self._shape(node),
                              node.kernel, node.stride, factor, offset, shift))  # fmt: skip

    def _select(self, i: int, node: Node, real: Tensor) -> Tensor:
        number = len(self.operations)
        self.constants[f"{number}.order"] = torch.tensor(node.channels, dtype=torch.int32)
        return self._append(Select(node.name, (self.made[node.reads[0]],), self._shape(node)))

    def _max(self, i: int, node: Node, real: Tensor) -> Tensor:
        return self._append(MaxPool(node.name, (self.made[node.reads[0]],), self._shape(node),
                                 node.kernel, node.stride, node.pads))  # fmt: skip

    def _concat(self, i: int, node: Node, real: Tensor) -> Tensor:
        own, places = self.ranges[i], []
        for read in node.reads:
            given = self.ranges[read]
            if given == own:
                places.append(self.made[read])
                continue
            self._table(node, read, same, own)
            places.append(len(self.operations))
        return self._append(Concat(node.name, tuple(places), self._shape(node)))


def _shifts(target: Tensor, offset: Tensor) -> Tensor:
    """float64 [O]: for each channel the largest shift at which weights and bias fit."""
    largest = target.abs().flatten(1).amax(1).clamp(min=2.0**-30)
    by_weight = torch.floor(torch.log2((WEIGHT_MAX + 0.49) / largest))
    by_bias = torch.floor(torch.log2(BIAS_MAX / (offset.abs() + 128)))
    shifts = torch.minimum(by_weight, by_bias).clamp(max=MOST_SHIFT)
    if float(shifts.min()) < 0:
        raise DfedgeError(
            f"a weight is {float(target.abs().max()):.0f} times as large as its result's scale "
            "holds; the net's activations differ too much in size: train it with weight decay"
        )
    return shifts


def _bias(b: Tensor) -> Tensor:
    return round_half_up(b).clamp(-(1 << 30), 1 << 30).to(torch.int32)
