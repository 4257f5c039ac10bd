"""A vector divided by its length: what a net ends in that compares directions.

Frameworks spell it in many ways: one operation, or a square, a sum, a root, a bound, and a division
or a product.  A length needs no code of its own: the sum of squares is a linear layer of ones, and
what is done to it is a function of one value.  So every spelling is one pattern of operations, and
numbers say whether it is that function (`is_length`).

A division by one number above zero for each sample changes no order of the scores, through anything
linear.  So it is left out, where nothing else follows.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dfedge.adoption.functions import ways
from dfedge.adoption.graph import EVERYTHING, ForeignNode
from dfedge.adoption.pointwise import Pointwise
from dfedge.adoption.values import K, Left

WHAT = "division by the length"
SQUARES = torch.logspace(-1, 4, 51, dtype=torch.float64)
"""Of lengths, at which a function is told."""
NEAR = 1e-3
"""How far a constant that keeps a length from zero may move it, as its part."""


class Directions(Pointwise[K]):
    """Operations over all numbers of a vector."""

    def length(self, given: K, power: float, axes: Sequence[int], keep: bool) -> None:
        """The square root of the sum of squares of a vector, over all of its numbers."""
        made = self.key
        if power != 2:
            raise self.refusal(f"{self.site.what} of power {power:g}", "of power 2")
        self.squares(given, axes, keep)
        self.function(made, torch.sqrt)

    def squares(self, given: K, axes: Sequence[int], keep: bool) -> None:
        """The sum of squares, likewise."""
        made, count = self.key, math.prod(self.value(given).dims)
        if self.shape(given)[1:] != (1, 1):
            raise self.refusal(f"{self.site.what} of a map", "of a vector, at the end of the net")
        self.function(given, torch.square)
        self.reduce("mean", made, axes, keep)
        if math.prod(self.value(made).dims) != 1:
            raise self.refusal(f"{self.site.what} over axes {list(axes)}", "over all numbers")
        self.clip(made, count, 0.0, *EVERYTHING)

    def directed(self, op: str, a: K, b: K) -> bool:
        """Take a vector for its quotient by its length, where that is what is computed of two."""
        for x, n in ((a, b),) if op == "div" else ((a, b), (b, a)):
            both = self.value(x).number, self.value(n).number
            if self.shape(x)[1:] == (1, 1) and is_length(self.nodes, *both, op == "div"):
                site = self.site.called(WHAT)
                self.values[self.key] = self.value(x)
                self.finished[self.key] = Left(site, (site.what_and_where,), True, True)
                return True
        return False


def is_length(nodes: Sequence[ForeignNode], x: int, n: int, divides: bool) -> bool:
    """Whether node ``n`` is the length of node ``x``, or its reciprocal where that is multiplied.

    That is a function of a sum with equal weights, of squares.
    """
    *_, (root, function) = ways(nodes, n)
    total = nodes[root]
    if total.op != "conv" or total.shape != (1, 1, 1) or total.kernel != (1, 1):
        return False
    weight = float(total.weight.flatten()[0])
    even = bool((total.weight == weight).all()) and not bool(total.bias.any())
    if not even or total.bounds != EVERYTHING or not _squares(nodes, x, total.reads[0]):
        return False
    wanted = SQUARES ** (0.5 if divides else -0.5)
    found = function(SQUARES * weight)
    return bool(((found - wanted).abs() <= NEAR * wanted).all())


def _squares(nodes: Sequence[ForeignNode], x: int, squared: int) -> bool:
    node = nodes[squared]
    if node.op == "mul":
        return node.reads == (x, x) and node.bounds == EVERYTHING
    if node.op != "function" or node.reads != (x,):
        return False
    probe = torch.linspace(-3, 3, 61, dtype=torch.float64)
    return bool(torch.allclose(node.function(probe), probe.square()))


def unit_rows(weight: Tensor, eps: float) -> Tensor:
    """Rows divided by their lengths, which count as ``eps`` at least; weight [O, I]."""
    return weight / weight.norm(dim=1, keepdim=True).clamp(min=eps)
