"""A net in two halves: what lies frozen, in integers, and the layers above it that learn."""

from dataclasses import dataclass

from torch import Tensor

from dfedge.adoption.blocks import last_blocks, tail_of
from dfedge.adoption.graph import ForeignGraph
from dfedge.adoption.layers import Learned, make_net
from dfedge.adoption.noise import OperationLoss
from dfedge.adoption.observe import real
from dfedge.adoption.quantise import Quantiser
from dfedge.errors import unknown_name
from dfedge.learn.recipe import Recipe
from dfedge.progress import Progress
from dfedge.trunk import Trunk

LEARN = ("head", "last:1", "last:2", "last:3", "all")
"""Choices of --learn that are tried where a person leaves it open."""


@dataclass
class Halves:
    """Both.

    Attributes:
        trunk: None: all of the net learns.
        constants, losses: of the trunk.
    """

    learned: Learned
    trunk: Trunk | None
    constants: dict[str, Tensor]
    losses: list[OperationLoss]


def halves(
    graph: ForeignGraph,
    x: Tensor,
    count: int | None,
    recipe: Recipe,
    watch: Progress = lambda *_: None,
) -> Halves:
    """Cut a net below the blocks that learn.  The graph is equalised in place.

    Args:
        graph: folded, with a linear layer that gives the scores.
        x: int8 [N, H, W, C], samples that scales are chosen by.
        count: blocks that learn beside the last layer; None: all.

    Raises:
        UsageError: blocks that cannot learn, with the reason.
        DfedgeError: what the integer operations cannot hold.
    """
    tail = tail_of(graph)
    units = [] if count == 0 else last_blocks(graph, tail, count)
    quantiser = Quantiser(graph, recipe)
    end = units[0].reads if units else tail.features
    trunk = quantiser.trunk(x, end, watch) if end else None
    learned = make_net(graph, tail, units, trunk, real(x))
    return Halves(learned, trunk, quantiser.constants, quantiser.losses)


def choice(learn: str) -> tuple[int | None, list[str]]:
    """How many blocks learn beside the head, None being all; and the names of taps.

    Raises:
        UsageError: another word.
    """
    if learn in ("head", "all"):
        return 0 if learn == "head" else None, []
    kind, _, what = learn.partition(":")
    if kind == "heads" and what:
        return 0, what.split(",")
    if kind != "last" or not what.isdecimal() or int(what) < 1:
        raise unknown_name("--learn", learn, ["head", "heads:NAME,NAME", "last:K", "all"])
    return int(what), []
