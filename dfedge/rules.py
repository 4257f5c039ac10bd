"""The learning rules by name: where the host's part of each lies, and what a device makes of it.

A device knows four ways for an error to go down (`dfedge.plan.Feedback`); a rule says which of them
it learns by there.  Reading the table imports no torch.
"""

from dataclasses import dataclass

from dfedge.plan import Feedback
from dfedge.plugins import Records

GROUP = "dfedge.rules"


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        host: ``module:attribute`` of its `dfedge.learn.rules.HostRule`.
        feedback: of a device that learns by it; None: a device does not, and learns by ``df``.
    """

    host: str
    feedback: Feedback | None = None


OWN = {
    "ff": Rule("dfedge.learn.rules.ff:FF"),
    "df": Rule("dfedge.learn.rules.df:DF", "none"),
    "df-o": Rule("dfedge.learn.rules.df_o:SLIDING", "transpose"),
    "df-o-alternating": Rule("dfedge.learn.rules.df_o_alternating:ALTERNATING"),
    "df-r": Rule("dfedge.learn.rules.df_r:PLAIN", "fixed"),
    "df-r-concordant": Rule("dfedge.learn.rules.df_r:CONCORDANT", "sign-concordant"),
    "bp": Rule("dfedge.learn.rules.bp:BP"),
    "bp-checkpoint": Rule("dfedge.learn.rules.bp:CHECKPOINT"),
}
"""Those that come with dfedge.  An installed package adds one by an entry point of `GROUP`."""


def _rule(place: str, host: object) -> Rule | None:
    return None if callable(host) else Rule(place)


RULES = Records(OWN, GROUP, Rule, _rule)
"""A ``package:object`` is a `Rule`, or a host's part alone: a device then learns by ``df``."""
OF_DEVICES = tuple(name for name, rule in OWN.items() if rule.feedback)
"""Those of dfedge's own that a device learns by."""


def feedback_of(name: str) -> Feedback | None:
    """How errors go down on a device that learns by a rule; None: no device does."""
    found = RULES.find(name)
    return found.feedback if found else None


def on_device() -> list[str]:
    """Names of the rules that a device learns by, those of installed packages among them."""
    return [name for name in RULES.all() if feedback_of(name)]
