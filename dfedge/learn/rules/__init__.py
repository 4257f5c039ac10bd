"""What the host trains by, one file each: how far the gradient of a layer's loss reaches.

`dfedge.rules` has the names.

A rule's ``step(net, batch, update)`` leaves the gradients of one batch in the parameters.  It calls
``update(i)`` as soon as layer i's gradient is whole; the caller then moves that layer and drops its
gradient, so that a strictly local rule never holds two layers' gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name

from torch import Generator, Tensor

from dfedge.errors import DfedgeError, unknown_name
from dfedge.learn.forms.loss import LayerLoss
from dfedge.learn.net import Net
from dfedge.learn.spec import Loss
from dfedge.learn.units import Draw, normal
from dfedge.rules import RULES


@dataclass(frozen=True)
class Batch:
    """Pixels 0..127 [B, C, H, W], labels int64 [B], the step's number, what negatives come from."""

    x: Tensor
    y: Tensor
    number: int
    generator: Generator


Update = Callable[[int], None]
Step = Callable[[Net, Batch, Update], list[LayerLoss | None]]
"""What each layer's loss said; None for a layer whose loss the rule does not use."""


def _nothing(net: Net) -> None:
    """Most rules take a net as it is."""


def _as_given(loss: Loss) -> Loss:
    return loss


@dataclass(frozen=True)
class HostRule:
    """What the host trains by.

    Attributes:
        step: see above.
        prepare: called once with a new or reloaded net.
        loss: what the rule makes of a net's loss.
        last_only: only the last layer's goodness is trained, so only it counts.
        draw: (a stage's name, shape of its weights) -> the fixed weights that errors go down
            through, where there are such.
    """

    step: Step
    prepare: Callable[[Net], None] = _nothing
    loss: Callable[[Loss], Loss] = _as_given
    last_only: bool = False
    draw: Draw = normal


def load_rule(name: str) -> HostRule:
    """The host's part of the rule of that name.

    Raises:
        UsageError: no such rule.
        DfedgeError: one that a package adds, and that has no host's part.
    """
    found = RULES.find(name)
    if found is None:
        raise unknown_name("rule", name, list(RULES.all()))
    try:
        rule = resolve_name(found.host)
    except (ImportError, AttributeError, ValueError) as error:
        raise DfedgeError(f"rule '{name}': {found.host} cannot be loaded ({error})") from error
    if not isinstance(rule, HostRule):
        raise DfedgeError(f"rule '{name}': {found.host} is not a dfedge.learn.rules.HostRule")
    return rule
