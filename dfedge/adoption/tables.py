"""Where a function of one value pays for a table of its own for each channel.

With one table, what goes into the function and what comes out of it keep their sizes, and a channel
that is small beside another keeps few levels on both sides.  With a table a channel, both sides are
free (`dfedge.adoption.equalise`), for 128 bytes a channel and a slower kernel.  Both ways are tried
on the samples: the error that rounding leaves in each channel, as the convolutions that read it
weigh it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dfedge.adoption.graph import EVERYTHING, ForeignGraph, ForeignNode
from dfedge.adoption.observe import Observed
from dfedge.adoption.ranges import choose
from dfedge.learn.recipe import Recipe

FALLS = 4.0
"""How many times less noise pays for tables: six decibels, one bit."""
QUIET = 1e-2
"""Noise of one table beside the signal, below which tables gain too little: 20 decibels."""
FLAT = 2.0**-8
"""Of what a function's results span in a channel: what differs by less from the result at an end of
what goes in is no more than that end."""
FIXED = 0
"""The group of channels that stay as they are."""
LEAST = 2.0**-40
"""What nothing is divided by less than."""


def of_one_value(node: ForeignNode) -> bool:
    """Whether it becomes a table, and what goes in cannot be multiplied as what comes out."""
    return node.op == "function" or (node.op == "clip" and not passes(node))


def passes(node: ForeignNode) -> bool:
    """Whether channels go through one by one, and as many times as large where they come so."""
    if node.op == "clip" and node.lift:
        return False
    return node.op in ("add", "mul", "mean", "max", "clip", "gather") and node.bounds in (
        EVERYTHING,
        (0.0, EVERYTHING[1]),
    )


def told_apart(seen: Observed, node: ForeignNode) -> Observed:
    """What goes into a function, without the ends at which its result stays as it is."""
    x = seen.values
    low, high, y = (_run(node, v) for v in (seen.low[None], seen.high[None], x))
    flat = FLAT * (torch.maximum(y.amax(0), high) - torch.minimum(y.amin(0), low)).abs()
    first = torch.where((y - low).abs() > flat, x, seen.high).amin(0)
    last = torch.where((y - high).abs() > flat, x, seen.low).amax(0)
    low = torch.where(x < first, x, seen.low).amax(0)
    high = torch.where(x > last, x, seen.high).amin(0)
    dead = low >= high
    return Observed(x, torch.where(dead, seen.low, low), torch.where(dead, seen.high, high))


@dataclass(frozen=True)
class Tables:
    """Both ways on the samples: one table each, and as many as there are channels.

    Attributes:
        observed: what each result is with one table everywhere.
        apart: the same without the ends that functions do not tell apart.
        groups, gains: with tables a channel everywhere (`dfedge.adoption.equalise`).
    """

    graph: ForeignGraph
    recipe: Recipe
    observed: Sequence[Observed]
    apart: Sequence[Observed]
    groups: Sequence[Tensor]
    gains: Mapping[int, Tensor]

    def paying(self, tried: Iterable[int]) -> set[int]:
        """Those of some functions for which tables a channel pay, and those tied to them."""
        left, found = set(tried), set()
        near = {i for i in left if self._pays(i)}
        while near:
            found |= near
            left -= near
            moved = torch.cat([self._sides(i) for i in near])
            near = {i for i in left if bool(torch.isin(self._sides(i), moved).any())}
        return found

    def _pays(self, i: int) -> bool:
        before = self._noise(i, False)
        return before > QUIET and before > FALLS * self._noise(i, True)

    def _sides(self, i: int) -> Tensor:
        """Groups of channels on both sides of a function, which one table fixes."""
        own = torch.cat([self.groups[i], self.groups[self.graph.nodes[i].reads[0]]])
        return own[own != FIXED]

    def _gain(self, i: int, each: bool = True) -> Tensor:
        ones = torch.ones(self.graph.nodes[i].shape[0])
        return self.gains.get(i, ones) if each else ones

    def _noise(self, i: int, each: bool) -> float:
        """Beside the signal, where convolutions have summed it up; else where it arises."""
        own, noise, signal = self.groups[i], 0.0, 0.0
        error = self._of_function(i, each)
        for j, node in enumerate(self.graph.nodes[: len(self.groups)]):
            if node.op != "conv":
                continue
            (read,) = node.reads
            tied = torch.isin(self.groups[read], own[own != FIXED])
            if not bool(tied.any()):
                continue
            given = (error if read == i else self._of_result(read, each)) * tied
            by, gain = node.weight.square().sum((2, 3), keepdim=True), self._gain(j).square()
            made = F.conv2d(given[None, :, None, None], by, groups=node.groups).flatten()
            noise += float((made * gain).sum())
            signal += float((_variance(self.observed[j]) * gain).sum())
        if not signal:
            noise, signal = float(error.sum()), float(_variance(self.observed[i]).sum())
        return noise / max(signal, LEAST)

    def _of_function(self, i: int, each: bool) -> Tensor:
        """[C]: mean square of what rounding before and after it leaves in its result."""
        node, (read,) = self.graph.nodes[i], self.graph.nodes[i].reads
        entry, exit = self._gain(read, each), self._gain(i, each)
        node = replace(node, entry=entry, exit=exit)
        x = (self.apart if each else self.observed)[read].scaled(entry)
        wanted = self.observed[i].scaled(exit)
        before, after = choose(x, self.recipe, lambda v: node.run([v])), choose(wanted, self.recipe)
        made = _run(node, before.real(before.integers(x.values)))
        return ((after.real(after.integers(made)) - wanted.values) / exit).square().mean(0)

    def _of_result(self, i: int, each: bool) -> Tensor:
        """[C]: the same of a result that is passed on."""
        gain = self._gain(i, each)
        wanted = self.observed[i].scaled(gain)
        own = choose(wanted, self.recipe)
        made = own.real(own.integers(wanted.values))
        return ((made - wanted.values) / gain).square().mean(0)


def _variance(seen: Observed) -> Tensor:
    return seen.values.var(0, correction=0)


def _run(node: ForeignNode, x: Tensor) -> Tensor:
    """Of values [P, C]."""
    return node.run([x[:, :, None, None]])[:, :, 0, 0]
