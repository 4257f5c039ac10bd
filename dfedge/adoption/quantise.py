"""The operations below the learning layers, as integer ones: calibrated on samples, one by one.

Every result has one scale and one zero (`dfedge.adoption.ranges`), chosen by what the float net
gives on all samples, its channels brought to one size before (`dfedge.adoption.equalise`).  A
convolution's weights absorb the part of a ratio of scales that is not a power of two, so a right
shift, one for each output channel, is all that its accumulator needs.  Its bias then takes up the
mean error that is left on some samples, those that `SHOWN` values of the largest map hold.
"""

import math
from collections.abc import Callable

import torch
from msgspec.structs import replace
from torch import Tensor

from dfedge.adoption.equalise import equalise
from dfedge.adoption.functions import same
from dfedge.adoption.graph import ForeignGraph, ForeignNode
from dfedge.adoption.noise import OperationLoss
from dfedge.adoption.observe import observe, pieces, real
from dfedge.adoption.ranges import Range, choose, start
from dfedge.errors import DfedgeError, foreign
from dfedge.int8.ops.trunk import record_of, text_of
from dfedge.int8.ops.values import ACTIVATION_MAX, BIAS_MAX, WEIGHT_MAX
from dfedge.int8.rounding import round_half_up
from dfedge.int8.scales import INPUT_EXPONENT
from dfedge.int8.trunk import apply
from dfedge.learn.explain import ratio
from dfedge.learn.recipe import Recipe
from dfedge.operations import (
    Add,
    AnyOperation,
    AveragePool,
    Concat,
    Convolution,
    Gather,
    Lookup,
    MaxPool,
    Multiply,
    Pad,
    Select,
    Shape,
)
from dfedge.operations.lookup import LEVELS
from dfedge.progress import Progress
from dfedge.trunk import Trunk

MOST_SHIFT = 22
"""So that 128 times 2^shift is within 2^29."""
SHOWN = 1 << 24
"""Values of the largest map by which biases are corrected: 64 MB in float."""
Parts = list[Tensor]
"""Some images at a time."""


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


class Quantiser:
    """The graph's operations up to one of them, as a trunk."""

    def __init__(self, graph: ForeignGraph, recipe: Recipe) -> None:
        self.graph, self.recipe = graph, recipe
        self.operations: list[AnyOperation] = []
        self.constants: dict[str, Tensor] = {}
        self.ranges: dict[int, Range] = {0: Range(2.0**INPUT_EXPONENT, 0)}
        self.made: dict[int, int] = {0: 0}
        self.values: dict[int, Parts] = {}
        self.losses: list[OperationLoss] = []

    @torch.no_grad()
    def trunk(self, x: Tensor, until: int, watch: Progress) -> Trunk:
        """Translate.  The graph is equalised in place.

        Args:
            x: int8 [N, H, W, C], samples.
            until: number of the last operation.

        Raises:
            DfedgeError: values or sums that the integer operations cannot hold.
        """
        observed = observe(self.graph, x, until, watch)
        equalise(self.graph, observed, until, self.recipe)
        shown = x[: max(SHOWN // self.graph.largest(until), 1)]
        self.values[0] = [part for _, part in pieces(self.graph, shown, until)]
        exact = [self.graph.run(real(part), until) for part in self.values[0]]
        for i in range(until + 1):
            watch("quantise", i, until + 1)
            wanted = [next(one)[1] for one in exact]
            if i:
                through = self._only_function(i)
                if self.graph.nodes[i].op in ("max", "select", "gather"):
                    self.ranges[i] = self.ranges[self.graph.nodes[i].reads[0]]
                else:
                    self.ranges[i] = choose(observed[i], self.recipe, through)
                self._translate(i, wanted, through or same)
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

    def _append(self, record: AnyOperation) -> Parts:
        number = len(self.operations)
        with foreign(f"operation '{record.name}'", "an integer one", "use smaller maps"):
            record_of(text_of(record))  # whose limits are checked so
        self.operations.append(record)
        self.values[number + 1] = self._apply(record, number)
        return self.values[number + 1]

    def _apply(self, record: AnyOperation, number: int) -> Parts:
        given = zip(*(self.values[read] for read in record.reads), strict=True)
        return [apply(record, number, self.constants, list(parts)) for parts in given]

    def _translate(self, i: int, wanted: Parts, end: Callable[[Tensor], Tensor]) -> None:
        node = self.graph.nodes[i]
        made = getattr(self, f"_{node.op}")(i, node, wanted)
        self.made[i] = len(self.operations)
        signal = noise = 0.0
        for exact, q in zip(wanted, made, strict=True):
            found = self.ranges[i].real(_nchw(q))
            signal += float(end(exact).square().sum())
            noise += float((end(found) - end(exact)).square().sum())
        self.losses.append(OperationLoss(node.name, node.op, ratio(signal, noise)))

    def _only_function(self, i: int) -> Callable[[Tensor], Tensor] | None:
        """Of a result that a function alone reads."""
        readers = self.graph.readers(i)
        node = self.graph.nodes[readers[0]] if len(readers) == 1 else None
        return (lambda v: node.run([v])) if node is not None and node.op == "function" else None

    def _shape(self, node: ForeignNode) -> Shape:
        channels, height, width = node.shape
        return height, width, channels

    # -- operations -----------------------------------------------------------------------------

    def _conv(self, i: int, node: ForeignNode, wanted: Parts) -> Parts:
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
        target = node.weight.double() * (own.scale / given.scale)
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
                "hold 2^31; reduce the channels or the kernel size"
            )
        record = Convolution(node.name, (place,), self._shape(node), node.kernel, node.stride, pads,
                        depthwise, shift, 1 if depthwise else node.groups)  # fmt: skip
        taps = w.permute(2, 3, 0, 1) if depthwise else w.permute(2, 3, 1, 0)
        number = len(self.operations)
        self.constants |= {
            f"{number}.weight": taps.reshape(-1, *taps.shape[2:]).to(torch.int8).contiguous(),
            f"{number}.bias": _bias(b),
            f"{number}.lift": torch.exp2(shift - shifts).to(torch.int32),
            f"{number}.limit": _limit(node, own, shifts),
        }
        self._append(record)
        self._correct(b, torch.exp2(shifts), own, wanted)
        return self.values[number + 1]

    def _correct(self, b: Tensor, factor: Tensor, own: Range, wanted: Parts) -> None:
        """Let the last convolution's bias take what rounding moved the mean of a channel by.

        Where a value is at a bound it says nothing.  The bias is kept where that is no better.

        Args:
            b, factor: [O], the bias, and what one of the result is in its accumulator.
        """
        number, name = len(self.operations) - 1, f"{len(self.operations) - 1}.bias"
        before = self.values[number + 1]
        total, count = torch.zeros(2, len(b), dtype=torch.float64)
        for q, exact in zip(before, wanted, strict=True):
            inside = _nchw((q > 0) & (q < ACTIVATION_MAX))
            error = (own.real(_nchw(q)) - exact) * inside
            total += error.sum((0, 2, 3))
            count += inside.sum((0, 2, 3))
        kept = self.constants[name]
        self.constants[name] = _bias(b - total / count.clamp(min=1) * own.scale * factor)
        after = self._apply(self.operations[number], number)
        if _noise(after, own, wanted) < _noise(before, own, wanted):
            self.values[number + 1] = after
        else:
            self.constants[name] = kept

    def _table(
        self, node: ForeignNode, read: int, of: Callable[[Tensor], Tensor], own: Range
    ) -> Parts:
        """A function of one value, from the scale of what it reads to a scale of its own."""
        given, shape = self.ranges[read], self._shape(self.graph.nodes[read])
        every, each = given.real(torch.arange(LEVELS, dtype=torch.float64)), node.by_channel
        if each:
            every = every.expand(1, shape[2], 1, LEVELS)
        number = len(self.operations)
        made = of(every).nan_to_num(0.0, 1e9, -1e9)  # where no sample comes
        table = own.integers(made).to(torch.int8)
        self.constants[f"{number}.table"] = table.reshape(-1, LEVELS) if each else table
        return self._append(Lookup(node.name, (self.made[read],), shape, each))

    def _function(self, i: int, node: ForeignNode, wanted: Parts) -> Parts:
        return self._table(node, node.reads[0], lambda v: node.run([v]), self.ranges[i])

    def _clip(self, i: int, node: ForeignNode, wanted: Parts) -> Parts:
        return self._function(i, node, wanted)

    def _add(self, i: int, node: ForeignNode, wanted: Parts) -> Parts:
        own = self.ranges[i]
        given = [self.ranges[read] for read in node.reads]
        (factor, other), shift = fixed(tuple(own.scale / g.scale for g in given), 1 << 20)
        offset = start(own.zero, shift) - factor * given[0].zero - other * given[1].zero
        places = tuple(self.made[read] for read in node.reads)
        return self._append(
            Add(node.name, places, self._shape(node), (factor, other), offset, shift)
        )

    def _mul(self, i: int, node: ForeignNode, wanted: Parts) -> Parts:
        own, (a, g) = self.ranges[i], (self.ranges[read] for read in node.reads)
        (factor,), shift = fixed((own.scale / (a.scale * g.scale),), 1 << 14)
        offset = start(own.zero, shift)
        places = tuple(self.made[read] for read in node.reads)
        zeros = (a.zero, g.zero)
        return self._append(
            Multiply(node.name, places, self._shape(node), zeros, factor, offset, shift)
        )

    def _mean(self, i: int, node: ForeignNode, wanted: Parts) -> Parts:
        own, given = self.ranges[i], self.ranges[node.reads[0]]
        count = node.kernel[0] * node.kernel[1]
        (factor,), shift = fixed((own.scale / (given.scale * count),), (1 << 29) // (127 * count))
        padded, offset = any(node.pads), start(own.zero, shift)
        if not padded:  # then the zero is the same at every place
            offset -= factor * given.zero * count
        pool = AveragePool(node.name, (self.made[node.reads[0]],), self._shape(node), node.kernel,
                           node.stride, factor, offset, shift)  # fmt: skip
        return self._append(replace(pool, pads=node.pads, zero=given.zero) if padded else pool)

    def _select(self, i: int, node: ForeignNode, wanted: Parts) -> Parts:
        number = len(self.operations)
        self.constants[f"{number}.order"] = torch.tensor(node.channels, dtype=torch.int32)
        return self._append(Select(node.name, (self.made[node.reads[0]],), self._shape(node)))

    def _gather(self, i: int, node: ForeignNode, wanted: Parts) -> Parts:
        number, places = len(self.operations), (*node.rows, *node.columns)
        self.constants[f"{number}.order"] = torch.tensor(places, dtype=torch.int32)
        return self._append(Gather(node.name, (self.made[node.reads[0]],), self._shape(node)))

    def _max(self, i: int, node: ForeignNode, wanted: Parts) -> Parts:
        return self._append(MaxPool(node.name, (self.made[node.reads[0]],), self._shape(node),
                                    node.kernel, node.stride, node.pads))  # fmt: skip

    def _concat(self, i: int, node: ForeignNode, wanted: Parts) -> Parts:
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


def _limit(node: ForeignNode, own: Range, shifts: Tensor) -> Tensor:
    """What each accumulator is kept below: where the result saturates, or its channel's ceiling."""
    most = torch.full_like(shifts, ACTIVATION_MAX + 1)
    if len(node.ceiling):
        most = torch.minimum(most, round_half_up(node.ceiling.double() * own.scale + own.zero))
    return (most * torch.exp2(shifts)).to(torch.int32)


def _nchw(q: Tensor) -> Tensor:
    return q.permute(0, 3, 1, 2).float()


def _noise(made: Parts, own: Range, wanted: Parts) -> float:
    pairs = zip(made, wanted, strict=True)
    return sum(float((own.real(_nchw(q)) - exact).square().sum()) for q, exact in pairs)
