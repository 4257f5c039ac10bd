"""Which of a net's last operations can learn: each as a local learning unit of `dfedge.learn`.

A unit ends in a ReLU, or in nothing: then a constant brings its values above zero, and the next
unit takes it off again.
"""

from dataclasses import dataclass
from itertools import pairwise

from msgspec.structs import replace

from dfedge.adoption.centre import UnlearnableError, has_least_pads, sides
from dfedge.adoption.fold import gives_scores
from dfedge.adoption.graph import ForeignGraph, ForeignNode, steps
from dfedge.blocks import Block
from dfedge.errors import DfedgeError, UsageError


@dataclass(frozen=True)
class BlockMatch:
    """One unit.

    Attributes:
        block: as a layer.
        stages: numbers of its convolutions, in the order of `dfedge.learn.units`.
        reads: number of what goes in.
        end: number of its result.
        padded: whether zeros are put around what goes in, or it is added: it must not be signed.
    """

    block: Block
    stages: tuple[int, ...]
    reads: int
    end: int
    padded: bool


@dataclass(frozen=True)
class Tail:
    """How a net ends: ``map`` (perhaps averaged to ``features``), then the linear ``scores``."""

    map: int
    features: int
    scores: int

    @property
    def averaged(self) -> bool:
        """Whether a mean over the image stands between."""
        return self.map != self.features


def tail_of(graph: ForeignGraph) -> Tail:
    """Find the linear layer that gives the scores.

    Raises:
        DfedgeError: the net ends in something else.
    """
    scores = len(graph.nodes) - 1
    last = graph.nodes[scores]
    if not gives_scores(last):
        raise DfedgeError(
            f"the net ends in '{last.op}' ({', '.join(filter(None, (last.name, last.where)))}); "
            "allowed: one score per class"
        )
    (features,) = last.reads
    node = graph.nodes[features]
    whole = node.op == "mean" and node.shape[1:] == (1, 1) and graph.readers(features) == [scores]
    return Tail(node.reads[0] if whole else features, features, scores)


def last_blocks(graph: ForeignGraph, tail: Tail, count: int | None) -> list[BlockMatch]:
    """The last ``count`` units, lowest first; None: all there are, down to the image.

    Raises:
        UsageError: fewer can learn than were asked for: with the reason.
    """
    found: list[BlockMatch] = []
    end, above = tail.map, {tail.features if tail.averaged else tail.scores}
    while end and (count is None or len(found) < count):
        try:
            unit = _unit(graph, end, above)
        except UnlearnableError as why:
            node, possible = graph.nodes[end], len(found)
            depth = f"--learn last:{possible}" if possible else "--learn head"
            asked = "all" if count is None else f"last:{count}"
            place = f"below the last {possible} block(s) " if possible else ""
            raise UsageError(
                f"--learn {asked}: {place}'{node.name}' "
                f"{f'({node.where}) ' if node.where else ''}{why}; at most: {depth}"
            ) from why
        found.insert(0, unit)
        end, above = unit.reads, set(unit.stages) | {unit.end}
    if count is not None and len(found) < count:
        raise UsageError(f"--learn last:{count}: the net has {len(found)} blocks")
    return found


def _unit(graph: ForeignGraph, end: int, above: set[int]) -> BlockMatch:
    """The unit that ends in a result.

    Raises:
        UnlearnableError: there is none.
    """
    node = graph.nodes[end]
    if set(graph.readers(end)) - above:
        raise UnlearnableError("is read by more than the block above it")
    if node.op == "add":
        return _inverted(graph, end) or _residual(graph, end)
    if node.op != "conv":
        raise UnlearnableError(f"is a {node.op}, which does not learn")
    if node.bounds[0] not in (0, float("-inf")):
        raise UnlearnableError(f"is bounded below by {node.bounds[0]:g}")
    if node.groups != 1:
        raise UnlearnableError("is a convolution by groups with no 1 x 1 convolution after it")
    under = graph.nodes[node.reads[0]]
    if _depthwise(under) and graph.readers(node.reads[0]) == [end] and node.kernel == (1, 1):
        if under.bounds[0] != 0:
            raise UnlearnableError("follows a depthwise convolution without a ReLU")
        _check_plain(node)
        block = _block(graph, under, "separable", node.shape[0])
        return BlockMatch(block, (node.reads[0], end), under.reads[0], end, block.sides != (1, 1))
    if node.kernel == under.shape[1:] and not any(node.pads):
        return BlockMatch(Block(node.shape[0], "linear"), (end,), node.reads[0], end, False)
    block = _block(graph, node, "conv", node.shape[0])
    return BlockMatch(block, (end,), node.reads[0], end, block.sides != (1, 1))


def _inverted(graph: ForeignGraph, end: int) -> BlockMatch | None:
    """1 x 1, depthwise, 1 x 1, and the input added; None: it is no such sum."""
    node = graph.nodes[end]
    for inner, given in (node.reads, node.reads[::-1]):
        stages = [inner]
        while len(stages) < 3 and len(graph.nodes[stages[0]].reads) == 1:
            stages.insert(0, graph.nodes[stages[0]].reads[0])
        if len(stages) < 3:
            continue
        expand, middle, last = (graph.nodes[n] for n in stages)
        if any(one.op != "conv" for one in (expand, middle, last)) or expand.reads != (given,):
            continue
        outer = all(one.kernel == (1, 1) and one.groups == 1 for one in (expand, last))
        alone = all(graph.readers(a) == [b] for a, b in pairwise([*stages, end]))
        closed = expand.bounds[0] == middle.bounds[0] == 0 and last.bounds[0] < 0
        if not (outer and alone and closed and _depthwise(middle)) or middle.stride != 1:
            continue
        _check_plain(expand)
        _check_plain(last)
        block = _block(graph, middle, "inverted", node.shape[0], wide=middle.shape[0])
        return BlockMatch(block, tuple(stages), given, end, False)
    return None


def _residual(graph: ForeignGraph, end: int) -> BlockMatch:
    node = graph.nodes[end]
    if node.bounds[0] != 0:
        raise UnlearnableError(
            "is a residual sum without a ReLU after it, and no inverted residual"
        )
    for inner, skip in (node.reads, node.reads[::-1]):
        last = graph.nodes[inner]
        if last.op != "conv" or last.groups != 1 or graph.readers(inner) != [end]:
            continue
        first = graph.nodes[last.reads[0]]
        if first.op != "conv" or first.groups != 1 or first.bounds[0] != 0:
            continue
        (given,) = first.reads
        stages: tuple[int, ...] = (last.reads[0], inner)
        if skip != given:
            through = graph.nodes[skip]
            if (through.op, through.reads, through.kernel) != ("conv", (given,), (1, 1)):
                continue
            if graph.readers(skip) != [end] or through.stride != first.stride:
                continue
            stages = (*stages, skip)
        elif first.stride != 1 or first.shape[0] != graph.nodes[given].shape[0]:
            continue
        inside = graph.readers(last.reads[0]) == [inner] and first.kernel == last.kernel
        if not inside or last.stride != 1:
            continue
        second, shape = sides(last, first.shape), graph.nodes[given].shape
        own = has_least_pads(first, shape) and second == first.kernel
        kernels = sides(first, shape, own), second
        height, width = (max(side) for side in zip(*kernels, strict=True))
        block = _of_sides(first, "residual", node.shape[0], height, width)
        return BlockMatch(replace(block, least_pads=own), stages, given, end, True)
    raise UnlearnableError("is a residual sum of another form than two convolutions and a shortcut")


def _block(
    graph: ForeignGraph, node: ForeignNode, kind: str, channels: int, wide: int = 0
) -> Block:
    """A block around a convolution."""
    given = graph.nodes[node.reads[0]].shape
    own = has_least_pads(node, given)
    block = _of_sides(node, kind, channels, *sides(node, given, own), wide)
    return replace(block, least_pads=own)


def _of_sides(
    node: ForeignNode, kind: str, channels: int, height: int, width: int, wide: int = 0
) -> Block:
    square = height == width and height % 2 == 1
    stride = steps(node.stride)[0]
    return Block(channels, kind, height, None if square else width, stride, wide)


def _depthwise(node: ForeignNode) -> bool:
    return node.op == "conv" and node.groups == node.shape[0] == node.weight.shape[0] > 1


def _check_plain(node: ForeignNode) -> None:
    if node.stride != 1 or any(node.pads):
        raise UnlearnableError("is a 1 x 1 convolution with stride")


def check_inside(graph: ForeignGraph) -> None:
    """Refuse a net without any operation before its scores.

    Raises:
        DfedgeError: nothing to freeze and nothing to learn.
    """
    if len(graph.nodes) < 3:
        raise DfedgeError("the net has no layer below its scores; allowed: a trained classifier")
