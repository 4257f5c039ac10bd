"""``ff``: the Forward-Forward baseline, a plain pair: the right label and one wrong one.

The step of ``df`` with one negative, drawn evenly, and no penalty.
"""

from msgspec.structs import replace

from dfedge.learn.rules import HostRule
from dfedge.learn.rules.df import step
from dfedge.learn.spec import Loss


def plain_pair(loss: Loss) -> Loss:
    """N = 1, uniform, lambda = 0."""
    return replace(loss, negatives=1, draw="uniform", penalty=0.0)


FF = HostRule(step, loss=plain_pair)
