"""``dfedge adopt --check``: what stands in a net's way, what could learn, and what that costs.

No data are read.  Sizes follow from shapes; two images of noise stand for the samples that scales
are chosen by.
"""

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import torch
from msgspec.structs import replace as with_changes

from dfedge.adoption.blocks import check_inside, tail_of
from dfedge.adoption.fold import fold
from dfedge.adoption.graph import ForeignGraph
from dfedge.adoption.halves import LEARN, choice, halves
from dfedge.adoption.load import Shape, open_model
from dfedge.compile.blank import blank, blank_constants
from dfedge.data.sized import sides
from dfedge.errors import DfedgeError, UsageError
from dfedge.exporters.planned import arena, state_bytes
from dfedge.exporters.program import Method
from dfedge.int8.stock.tiled import FLOORS
from dfedge.learn.recipe import load_recipe
from dfedge.learn.skeleton import obstacle, skeleton
from dfedge.progress import Progress

USUAL, USUAL_WINDOW = 224, 128
"""Pixels a side, and samples of a window, where neither the net nor the user names a size."""


class Sizes(msgspec.Struct, frozen=True):
    """What a choice of --learn costs, in bytes.

    Attributes:
        train_bytes, infer_bytes: arena at batch 1, by the computed plan.
        state_bytes: what learning changes.
        flash_bytes: of the frozen trunk, about: samples decide where a function has a table for
            each channel, and here they are noise.
        refused: why it cannot be had; all else is zero then.
    """

    learn: str
    train_bytes: int = 0
    infer_bytes: int = 0
    state_bytes: int = 0
    flash_bytes: int = 0
    refused: str = ""


class Checked(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        image: height, width and channels.
        scores: that the net gives.
        blockers: each with its remedy; nothing can be adopted where there are any.
        left_out: what follows the scores and changes no order of them.
        embeds: its scores are none, but features for a new last layer.
    """

    model: str
    image: tuple[int, int, int]
    scores: int
    blockers: list[str]
    left_out: list[str]
    sizes: list[Sizes]
    embeds: bool


def check_model(
    name: str, image: str, watch: Progress = lambda *_: None, window: int = 0
) -> Checked:
    """Read a net, and size every choice of what learns.

    Args:
        image: ``HxW`` of a net that names no size; empty: `USUAL`.
        window: the same of a net of windows; 0: `USUAL_WINDOW`.

    Raises:
        UsageError, DfedgeError: no net there at all.
    """
    watch("read the net", 0, 1)
    model = open_model(name)
    height, width, channels = model.size
    asked = sides(image) or (USUAL, USUAL)
    if width == 1:
        asked = window or USUAL_WINDOW, 1
    elif model.values and not image:
        asked, channels = (1, 1), model.values
    shape = (height or asked[0], width or asked[1], channels or 3)
    graph, blockers = model.translated(shape)
    if graph is not None and not blockers:
        try:
            graph = fold(graph)
            check_inside(graph)
            tail_of(graph)
        except DfedgeError as error:
            blockers.append(str(error))
    scores = graph.nodes[-1].shape[0] if graph is not None else 0
    left_out = list(graph.left_out) if graph is not None else []
    sizes = [] if blockers or graph is None else list(_sizes(graph, shape, watch))
    embeds = graph is not None and graph.embeds
    return Checked(name, shape, scores, blockers, left_out, sizes, embeds)


def _sizes(graph: ForeignGraph, shape: Shape, watch: Progress) -> Iterator[Sizes]:
    for number, learn in enumerate(LEARN):
        watch(f"size {learn}", number, len(LEARN))
        try:
            yield _size(graph, shape, learn)
        except (UsageError, DfedgeError) as error:
            yield Sizes(learn, refused=str(error))
    watch("size", len(LEARN), len(LEARN))


def _size(graph: ForeignGraph, shape: Shape, learn: str) -> Sizes:
    graph = replace(graph, nodes=[replace(node) for node in graph.nodes])
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 128, (2, *shape), dtype=torch.int8, generator=generator)
    made = halves(graph, x, choice(learn)[0], load_recipe("minmax"))
    net, trunk = made.learned.net, made.trunk
    reads = trunk.output_shape if trunk else shape
    why = obstacle(net.spec, reads, net.classes, "one-pass")
    if why is not None:
        raise DfedgeError(f"not supported by the integer runtime: {why}")
    plan = with_changes(skeleton(net.spec, reads, net.classes, "one-pass"), trunk=trunk)
    state = state_bytes(blank(plan))
    train, infer = (arena(plan, Method(kind, 1), "c", FLOORS[0]) for kind in ("train", "infer"))
    return Sizes(learn, train, infer, state, state_bytes(blank_constants(plan)))
