"""The learning rules, one file each, by name.

A rule is a function ``step(net, x, y) -> list[Signal]``: it leaves the gradients of one batch in
the parameters and says, layer by layer, what it saw.  It takes no optimiser step.
"""

from collections.abc import Callable
from importlib import import_module

from torch import Tensor

from dfedge.errors import unknown_name
from dfedge.learn.net import Net
from dfedge.learn.rules.signal import Signal

RULES = {"df": "dfedge.learn.rules.df:step"}
"""Name -> module:function; reading the table imports nothing."""

Rule = Callable[[Net, Tensor, Tensor], list[Signal]]


def load_rule(name: str) -> Rule:
    """The rule of that name.

    Raises:
        UsageError: no such rule.
    """
    if name not in RULES:
        raise unknown_name("rule", name, list(RULES))
    module, function = RULES[name].split(":")
    rule: Rule = getattr(import_module(module), function)
    return rule
