"""The operations that learn, as a `dfedge.learn.net.Net` that starts from their trained weights.

A layer's input x (what the trunk gives, over 128) stands for ``v = x / size - base`` in the foreign
net's numbers, so weights are divided by its size and biases take the base off.  The last layer is
the net's own linear one: its scores, raised by a constant so that most are above zero, are what
its anchors see.  With anchors of one length along the axes, ``2 p.A_k - |A_k|^2`` orders the
classes as the net did.
"""

import math
from dataclasses import dataclass

import torch
from msgspec.structs import replace
from torch import Tensor

from dfedge.adoption.blocks import BlockMatch, Tail
from dfedge.adoption.centre import centred
from dfedge.adoption.graph import ForeignGraph, ForeignNode
from dfedge.adoption.observe import results
from dfedge.blocks import Block
from dfedge.errors import UsageError
from dfedge.int8.bounds import most_features
from dfedge.int8.ops.values import MARGIN_UNIT
from dfedge.int8.scales import score_shifts
from dfedge.learn.calibrate import calibrate
from dfedge.learn.forms.onepass import pixels
from dfedge.learn.lean import pool_cells
from dfedge.learn.net import Net
from dfedge.learn.recipe import Recipe
from dfedge.learn.samples import Samples
from dfedge.learn.spec import Loss, NetSpec
from dfedge.learn.trainer import accuracy
from dfedge.learn.units import ConvNorm
from dfedge.trunk import Trunk

Stage = tuple[Tensor, Tensor]
"""Weight [O, C, kh, kw] and bias [O]."""
MARGIN = 0.625
"""Of two anchors' separation: twice what nets trained by their anchors have."""
RARE = 0.005
"""The fraction of samples for which a raised value may still be below zero."""
SILENT = 0.1
"""The same of all classes' scores: a class whose score is below zero cannot be taught by its
sample, for no error passes a closed ReLU; where only the best score was above it, a shift was
learned four points worse."""
SCORES = 4
"""Times that two classes lie apart in the scores what they do in the features, in squares."""
FLATTERED = 0.01
"""The fraction of held-out samples that scores and features together may misjudge beyond the scores
alone, and count together all the same.  Together they learn a shift (one to two points) and a new
class better and keep more of what was known; and the foreign net was trained on these very samples,
which flatters its scores: on unseen images both are equal."""
FEW = 8
"""Samples of a class that make a mean by which it may be judged."""
ALIKE = 8
"""Samples that stand for a class that has none."""


@dataclass
class Learned:
    """The layers that learn.

    Attributes:
        names: of the operations that they come from.
    """

    net: Net
    names: list[str]


def make_net(
    graph: ForeignGraph,
    tail: Tail,
    units: list[BlockMatch],
    trunk: Trunk | None,
    seen: Tensor,
) -> Learned:
    """Lay out the layers and give them their weights; anchors are still zero.

    The head alone is a gain for each feature, whose anchors are the classes' means, and the linear
    layer; of more features than an anchor holds (`most_features`), the linear layer.

    Args:
        seen: float [N, C, H, W], samples as the foreign net sees them.

    Raises:
        UsageError: a first block that pads what may be below zero.
    """
    channels, height, width = graph.nodes[0].shape
    classes = graph.nodes[tail.scores].shape[0]
    size = trunk.scale / 128 if trunk else 1.0
    base = trunk.zero / trunk.scale if trunk else 0.0
    if units and units[0].padded and base:
        name = graph.nodes[units[0].end].name
        raise UsageError(
            f"--learn: block '{name}' pads its input, which may be below zero; learn one block "
            "more or less"
        )
    real = results(graph, {*(unit.end for unit in units), tail.scores}, seen)
    blocks: list[Block] = []
    stages: list[list[Stage]] = []
    for i, unit in enumerate(units):
        above = units[i + 1] if i + 1 < len(units) else None
        block = unit.block
        if above is None and tail.averaged:
            block = replace(block, mean=True)
        lift = 0.0
        if graph.nodes[unit.end].bounds[0] < 0:
            lift = max(-float(real[unit.end].flatten()[::7][:1_000_000].quantile(RARE)), 0.0)
            if above is not None and above.padded:
                raise UsageError(
                    f"--learn: block '{graph.nodes[above.end].name}' pads its input, which may be "
                    "below zero; learn fewer blocks"
                )
        kept = block.made_of.adds == len(unit.stages)  # its input is added as it is
        after = size if kept else 1.0
        own = block.least_pads, block.made_of.whole
        nodes = [
            centred(graph.nodes[n], block.sides, own[1] or (own[0] and n == unit.stages[0]))
            for n in unit.stages
        ]
        stages.append(_stages(nodes, block, size, base, after, lift))
        blocks.append(block)
        size, base = after, lift
    features = graph.nodes[tail.features].shape
    gained = not units and math.prod(features) <= most_features(round(MARGIN * MARGIN_UNIT))
    if gained:
        blocks.append(Block(features[0], "gain"))
        stages.append([(torch.ones(features[0], 1, 1, 1), torch.zeros(features[0]))])
    scores = real[tail.scores].flatten()
    low = float(scores.quantile(SILENT))
    lift = 0.05 * (float(scores.max()) - low) - low
    last = graph.nodes[tail.scores]
    blocks.append(Block(classes, "linear"))
    stages.append([_through(last, size, base, 1.0, lift)])
    net = Net(
        NetSpec(blocks, anchors=1, loss=Loss(margin=MARGIN)),
        trunk.output_shape if trunk else (height, width, channels),
        classes,
    )
    for unit_of_net, given in zip(net.units, stages, strict=True):
        for j, stage in enumerate(given):
            _set(unit_of_net.conv(j), stage)
    names = [graph.nodes[unit.end].name for unit in units]
    if gained:
        names = [graph.nodes[tail.features].name]
    return Learned(net.eval(), [*names, last.name])


def _through(node: ForeignNode, size: float, base: float, after: float, lift: float = 0.0) -> Stage:
    bias = node.bias - base * node.weight.sum((1, 2, 3)) + lift
    return node.weight * (after / size), bias * after


def _stages(
    nodes: list[ForeignNode], block: Block, size: float, base: float, after: float, lift: float
) -> list[Stage]:
    """Its convolutions, the first of which sees what comes in ``size`` times and above ``base``."""
    chain = block.made_of.adds or len(nodes)
    if chain == block.made_of.adds == len(nodes):  # what is added brings its base along
        lift -= base
    found = []
    for j, node in enumerate(nodes[:chain]):
        comes_in = (size, base) if j == 0 else (1.0, 0.0)
        goes_out = (after, lift) if j == chain - 1 else (1.0, 0.0)
        found.append(_through(node, *comes_in, *goes_out))
    return [*found, *(_through(node, size, base, after) for node in nodes[chain:])]


@torch.no_grad()
def _set(conv: ConvNorm, stage: Stage) -> None:
    """A convolution whose normalisation does nothing but add the bias."""
    weight, bias = stage
    conv.weight.copy_(weight)
    norm = conv.norm
    assert norm.running_mean is not None and norm.running_var is not None
    norm.weight.fill_(1)
    norm.bias.copy_(bias)
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)


@dataclass(frozen=True)
class Tried:
    """One choice of what counts.

    Attributes:
        accuracy: on held-out samples.
        counted: layers whose scores are added.
        own: whether the net's own scores decide, the last layer's anchors along the axes.
    """

    accuracy: float
    counted: tuple[int, ...]
    own: bool
    anchors: Tensor


@torch.no_grad()
def anchored(
    learned: Learned, own: Samples, held_out: Samples, recipe: Recipe, fitted: bool = False
) -> tuple[Tried, list[Tried]]:
    """Set anchors, scales, and which layers count.

    Every layer's anchors are its class means; the last layer's may also lie along the axes.  The
    scores count alone, or with the features that they are made of (`FLATTERED`).  Where a class has
    too few samples for a mean (`FEW`), the net's own scores count alone: its trained weights know
    the class, and the data do not.

    Args:
        fitted: see `best`.

    Returns:
        What was chosen, and all that was tried.
    """
    net = learned.net
    form, last = net.one_pass, len(net.units) - 1
    count = torch.bincount(own.y, minlength=net.classes)
    hidden = [pool_cells(h, form.cells[i]) for i, h in enumerate(net.activations(pixels(own.x)))]
    for i, p in enumerate(hidden):
        form.anchors[i].copy_(class_means(p, own.y, net.classes, hidden[last]))
    net.scales = calibrate(net, own.x[: recipe.samples], recipe)
    _balance(net)
    net.scales = calibrate(net, own.x[: recipe.samples], recipe)
    means = form.anchors[last].clone()
    axes = means.diagonal().mean() * torch.eye(net.classes)
    enough = last > 0 and int(count.min()) >= FEW
    tried = [
        _tried(net, counted, anchors, anchors is axes, held_out)
        for anchors in ((axes, means) if enough else (axes,))
        for counted in (((last - 1, last), (last,)) if enough else ((last,),))
    ]
    chosen = best(tried, fitted)
    _let(learned.net, chosen.counted, chosen.anchors)
    return chosen, tried


def best(tried: list[Tried], fitted: bool) -> Tried:
    """The most accurate choice.

    Args:
        fitted: the last layer was made from the samples that judge: what its scores say of them is
            no evidence, and the features count beside them wherever that was tried.
    """
    by = 1.0 if fitted else FLATTERED
    return max(tried, key=lambda one: one.accuracy + by * (len(one.counted) > 1))


@torch.no_grad()
def by_scores_alone(learned: Learned, chosen: Tried, tried: list[Tried], samples: Samples) -> float:
    """How accurate the foreign net's own scores are, in integers; the layers stay as chosen."""
    (alone,) = (one for one in tried if one.own and len(one.counted) == 1)
    _let(learned.net, alone.counted, alone.anchors)
    found = accuracy(learned.net, samples)
    _let(learned.net, chosen.counted, chosen.anchors)
    return found


def _tried(
    net: Net, counted: tuple[int, ...], anchors: Tensor, own: bool, held_out: Samples
) -> Tried:
    _let(net, counted, anchors)
    return Tried(accuracy(net, held_out), counted, own, anchors)


def _let(net: Net, counted: tuple[int, ...], anchors: Tensor) -> None:
    net.counted = counted
    net.one_pass.anchors[-1].copy_(anchors)


def class_means(p: Tensor, y: Tensor, classes: int, scores: Tensor) -> Tensor:
    """[K, F]; a class without samples lies where those do that the net takes for it most.

    That is the way from the mean of all to the mean of the `ALIKE` samples of the highest score for
    it, as far as the other classes lie from the mean of all.

    Args:
        p: [N, F], features.
        y: int64 [N].
        scores: [N, K], of the net.
    """
    member = torch.nn.functional.one_hot(y, classes).to(p.dtype).T
    count = member.sum(1, keepdim=True)
    means = (member @ p) / count.clamp(min=1)
    there = count[:, 0] > 0
    middle = means[there].mean(0)
    far = (means[there] - middle).norm(dim=1).mean()
    relative = scores - scores.mean(1, keepdim=True)
    for label in torch.nonzero(~there).flatten().tolist():
        alike = p[relative[:, label].topk(min(ALIKE, len(p))).indices].mean(0) - middle
        means[label] = (middle + far * alike / alike.norm().clamp(min=1e-9)).clamp(min=0)
    return means


@torch.no_grad()
def _balance(net: Net) -> None:
    """Let the scores weigh `SCORES` times as much in a sum as the features, where these count."""
    form, scales, last = net.one_pass, net.scales, len(net.units) - 1
    assert scales is not None
    if not last:
        return
    shifts = score_shifts([a.shape[1] for a in form.anchors], scales)
    apart = [
        math.log2(max(float(torch.pdist(a * 2.0**s.pooled).square().mean()), 1.0)) + shift
        for a, s, shift in zip(form.anchors, scales, shifts, strict=True)
    ]
    factor = math.sqrt(SCORES * 2 ** (apart[last - 1] - apart[last]))
    net.units[last].last.weight.mul_(factor)
    net.units[last].last.norm.bias.mul_(factor)
    form.anchors[last].mul_(factor)
