"""Functions of one value: an activation, however a framework writes it, becomes one of them.

Exporters write SiLU as ``x sigmoid(x)``, GELU as five operations, hard swish as four.  Whatever is
computed from one value alone, number by number, is a function of that value, and so one table.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dfedge.adoption.graph import EVERYTHING, ForeignNode

Function = Callable[[Tensor], Tensor]
MOST_DEEP = 12
"""Operations that are looked through."""
BINARY = ("add", "mul")


def join_functions(nodes: list[ForeignNode]) -> None:
    """Make functions of sums and products of values that come from one value alone, in place.

    What they were made from is left where it is; whoever is read no more goes later.
    """
    for i, node in enumerate(nodes):
        if node.op not in BINARY or len(node.reads) != 2 or node.bounds != EVERYTHING:
            continue
        shared = _shared(nodes, *node.reads)
        if shared is None or nodes[shared[0]].shape != node.shape:
            continue
        number, a, c = shared
        whole = _summed(a, c) if node.op == "add" else _multiplied(a, c)
        nodes[i] = replace(node, op="function", reads=(number,), function=whole)


def absorbed(before: ForeignNode, node: ForeignNode) -> bool:
    """Let a function do what is done to its result; False where that differs by channel."""
    own = _own(node)
    if before.op != "function" or own is None:
        return False
    before.function = _chained(_bounded(before), own)
    before.bounds = EVERYTHING
    return True


def _shared(nodes: list[ForeignNode], a: int, c: int) -> tuple[int, Function, Function] | None:
    """The value that both come from, the nearest, and what is done to it on both ways."""
    others = dict(ways(nodes, c))
    for number, function in ways(nodes, a):
        if number in others and (a, c) != (number, number):
            return number, function, others[number]
    return None


def ways(nodes: Sequence[ForeignNode], number: int) -> Iterator[tuple[int, Function]]:
    """A value, and those before it that it is a function of."""
    function: Function = same
    for _ in range(MOST_DEEP):
        yield number, function
        own = _own(nodes[number])
        if own is None:
            return
        function = _chained(own, function)
        (number,) = nodes[number].reads


def _own(node: ForeignNode) -> Function | None:
    """What a node does to each number of what it reads, where that is all it does."""
    if node.op == "affine":
        weight, bias = node.weight[:1], node.bias[:1]
        if not torch.equal(node.weight, weight.expand_as(node.weight)):
            return None
        if not torch.equal(node.bias, bias.expand_as(node.bias)):
            return None
        return _chained(_line(float(weight), float(bias)), _bounds(node))
    if node.op == "clip":
        return _chained(_line(node.slope, node.lift), _bounds(node))
    return _bounded(node) if node.op == "function" else None


def same(x: Tensor) -> Tensor:
    """The function that does nothing."""
    return x


def _line(slope: float, lift: float) -> Function:
    return lambda x: slope * x + lift


def _bounds(node: ForeignNode) -> Function:
    low, high = node.bounds
    return same if node.bounds == EVERYTHING else lambda x: x.clamp(low, high)


def _bounded(node: ForeignNode) -> Function:
    return _chained(node.function, _bounds(node))


def _chained(first: Function, then: Function) -> Function:
    return lambda x: then(first(x))


def _summed(a: Function, c: Function) -> Function:
    return lambda x: a(x) + c(x)


def _multiplied(a: Function, c: Function) -> Function:
    return lambda x: a(x) * c(x)
