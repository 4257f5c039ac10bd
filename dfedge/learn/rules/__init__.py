"""The learning rules, one file each, by name: how far the gradient of a layer's loss reaches.

A rule's ``step(net, batch, update)`` leaves the gradients of one batch in the parameters.  It calls
``update(i)`` as soon as layer i's gradient is whole; the caller then moves that layer and drops its
gradient, so that a strictly local rule never holds two layers' gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from torch import Generator, Tensor

from dfedge.errors import unknown_name
from dfedge.learn.forms.loss import Judged
from dfedge.learn.net import Net
from dfedge.learn.spec import Loss


@dataclass(frozen=True)
class Batch:
    """Pixels 0..127 [B, C, H, W], labels int64 [B], the step's number, what negatives come from."""

    x: Tensor
    y: Tensor
    number: int
    generator: Generator


Update = Callable[[int], None]
Step = Callable[[Net, Batch, Update], list[Judged | None]]
"""What each layer's loss said; None for a layer whose loss the rule does not use."""


def _nothing(net: Net) -> None:
    """Most rules take a net as it is."""


def _as_given(loss: Loss) -> Loss:
    return loss


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        step: see above.
        prepare: called once with a new or reloaded net.
        loss: what the rule makes of a net's loss.
        last_only: only the last layer's goodness is trained, so only it counts.
    """

    step: Step
    prepare: Callable[[Net], None] = _nothing
    loss: Callable[[Loss], Loss] = _as_given
    last_only: bool = False


RULES = {
    "ff": "dfedge.learn.rules.ff:FF",
    "df": "dfedge.learn.rules.df:DF",
    "df-o": "dfedge.learn.rules.df_o:SLIDING",
    "df-o-alternating": "dfedge.learn.rules.df_o_alternating:ALTERNATING",
    "df-r": "dfedge.learn.rules.df_r:PLAIN",
    "df-r-concordant": "dfedge.learn.rules.df_r:CONCORDANT",
    "bp": "dfedge.learn.rules.bp:BP",
    "bp-checkpoint": "dfedge.learn.rules.bp:CHECKPOINT",
}
"""Name -> module:attribute; reading the table imports nothing."""


def load_rule(name: str) -> Rule:
    """The rule of that name.

    Raises:
        UsageError: no such rule.
    """
    if name not in RULES:
        raise unknown_name("rule", name, list(RULES))
    module, attribute = RULES[name].split(":")
    rule: Rule = getattr(import_module(module), attribute)
    return rule
