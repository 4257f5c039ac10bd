"""What keeps memory of the past, by name."""

from pkgutil import resolve_name

import numpy as np

from dfedge.continual.settings import StreamSettings
from dfedge.continual.strategies.strategy import Strategy
from dfedge.device.care import NO_CARE, Care
from dfedge.device.session import Session
from dfedge.errors import DfedgeError, UsageError, unknown_name

__all__ = ["STRATEGIES", "Strategy", "open_strategy"]

STRATEGIES = {
    "guarded": "dfedge.continual.strategies.guarded:Guarded",
    "none": "dfedge.continual.strategies.none:Plain",
    "anchors": "dfedge.continual.strategies.anchors:Anchors",
    "reservoir": "dfedge.continual.strategies.reservoir:Reservoir",
    "balanced": "dfedge.continual.strategies.balanced:Balanced",
    "placed": "dfedge.continual.strategies.placed:Placed",
}
"""Name -> module:class; reading the table imports nothing."""


def open_strategy(session: Session, settings: StreamSettings) -> Strategy:
    """The settings' strategy, its memory empty.

    Raises:
        UsageError: no such strategy, or a session without the care that it needs.
        DfedgeError: a budget smaller than one sample, or a bundle that it cannot work on.
    """
    plan = session.bundle.manifest.plan
    if plan.form != "one-pass":
        raise DfedgeError(
            f"{session.bundle.folder}: a net of the {plan.form} form has no anchors to add classes "
            "to; train one of the one-pass form"
        )
    strategy = _strategy(settings.strategy)
    if strategy.care != session.care and strategy.care != NO_CARE:
        raise UsageError(
            f"strategy {settings.strategy}: needs a session with replay and guard; open it with "
            "care=None"
        )
    return strategy(session, settings)


def care_of(strategy: str) -> Care:
    """The care that a session is opened with for a strategy.

    Raises:
        UsageError: no such strategy.
    """
    return _strategy(strategy).care


def _strategy(name: str) -> type[Strategy]:
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, list(STRATEGIES))
    found: type[Strategy] = resolve_name(STRATEGIES[name])
    return found


def generator(settings: StreamSettings, step: int) -> np.random.Generator:
    """The random numbers of one step: a function of (seed, step) alone, so that a run resumes."""
    return np.random.default_rng([settings.seed, step])
