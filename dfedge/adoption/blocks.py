"""Which of a net's last operations can learn: each as a local learning unit of `dfedge.learn`.

A unit ends in a ReLU, or in nothing: then a constant brings its values above zero, and the next
unit takes it off again.
"""

from dataclasses import dataclass
from itertools import pairwise

from dfedge.adoption.fold import gives_scores
from dfedge.adoption.graph import Graph, Node, steps
from dfedge.blocks import Block
from dfedge.errors import DfedgeError, UsageError


@dataclass(frozen=True)
class Found:
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


def tail_of(graph: Graph) -> Tail:
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


def last_blocks(graph: Graph, tail: Tail, count: int | None) -> list[Found]:
    """The last ``count`` units, lowest first; None: all there are, down to the image.

    Raises:
        UsageError: fewer can learn than were asked for: with the reason.
    """
    found: list[Found] = []
    end, above = tail.map, {tail.features if tail.averaged else tail.scores}
    while end and (count is None or len(found) < count):
        unit = _unit(graph, end, above)
        if isinstance(unit, str):
            node, possible = graph.nodes[end], len(found)
            depth = f"--learn last:{possible}" if possible else "--learn head"
            asked = "all" if count is None else f"last:{count}"
            place = f"below the last {possible} block(s) " if possible else ""
            raise UsageError(
                f"--learn {asked}: {place}'{node.name}' "
                f"{f'({node.where}) ' if node.where else ''}{unit}; at most: {depth}"
            )
        found.insert(0, unit)
        end, above = unit.reads, set(unit.stages) | {unit.end}
    if count is not None and len(found) < count:
        raise UsageError(f"--learn last:{count}: the net has {len(found)} blocks")
    return found


def _unit(graph: Graph, end: int, above: set[int]) -> Found | str:
    """The unit that ends in a result, or why there is none."""
    node = graph.nodes[end]
    if set(graph.readers(end)) - above:
        return "is read by more than the block above it"
    if node.op == "add":
        return _inverted(graph, end) or _residual(graph, end)
    if node.op != "conv":
        return f"is a {node.op}, which does not learn"
    if node.bounds[0] not in (0, float("-inf")):
        return f"is bounded below by {node.bounds[0]:g}"
    if node.groups != 1:
        return "is a convolution by groups with no 1 x 1 convolution after it"
    under = graph.nodes[node.reads[0]]
    if _depthwise(under) and graph.readers(node.reads[0]) == [end] and node.kernel == (1, 1):
        if under.bounds[0] != 0:
            return "follows a depthwise convolution without a ReLU"
        flaw = _same(under) or _plain(node)
        block = Block(node.shape[0], "separable", under.kernel[0], stride=steps(under.stride)[0])
        stages = (node.reads[0], end)
        return flaw or Found(block, stages, under.reads[0], end, any(under.pads))
    if node.kernel == under.shape[1:] and not any(node.pads):
        block = Block(node.shape[0], "linear")
    else:
        flaw = _same(node)
        if flaw:
            return flaw
        block = Block(node.shape[0], "conv", node.kernel[0], stride=steps(node.stride)[0])
    return Found(block, (end,), node.reads[0], end, any(node.pads))


def _inverted(graph: Graph, end: int) -> Found | str | None:
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
        flaw = _same(middle) or _plain(expand) or _plain(last)
        block = Block(node.shape[0], "inverted", middle.kernel[0], wide=middle.shape[0])
        return flaw or Found(block, tuple(stages), given, end, False)
    return None


def _residual(graph: Graph, end: int) -> Found | str:
    node = graph.nodes[end]
    if node.bounds[0] != 0:
        return "is a residual sum without a ReLU after it, and no inverted residual"
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
        flaw = _same(first) or _same(last)
        block = Block(node.shape[0], "residual", first.kernel[0], stride=steps(first.stride)[0])
        return flaw or Found(block, stages, given, end, True)
    return "is a residual sum of another form than two convolutions and a shortcut"


def _depthwise(node: Node) -> bool:
    return node.op == "conv" and node.groups == node.shape[0] == node.weight.shape[0] > 1


def _same(node: Node) -> str | None:
    """Why a convolution is not one of "same" padding and a square odd kernel, or None."""
    (kh, kw), (down, across) = node.kernel, steps(node.stride)
    if down != across:
        return f"has strides {down} and {across}: a block that learns has one"
    if kh != kw or kh % 2 == 0 or node.pads != (kh // 2,) * 4 or kh > 15 or down > 4:
        return (
            f"has kernel {kh} x {kw}, padding {node.pads[0]}: a block that learns has an odd "
            "square kernel and half of it as padding"
        )
    return None


def _plain(node: Node) -> str | None:
    return None if node.stride == 1 and not any(node.pads) else "is a 1 x 1 convolution with stride"


def check_inside(graph: Graph) -> None:
    """Refuse a net without any operation before its scores.

    Raises:
        DfedgeError: nothing to freeze and nothing to learn.
    """
    if len(graph.nodes) < 3:
        raise DfedgeError("the net has no layer below its scores; allowed: a trained classifier")
