"""What keeps memory of the past, by name."""

from importlib import import_module

import numpy as np

from dfedge.continual.settings import Settings
from dfedge.continual.strategies.strategy import Strategy
from dfedge.device.session import Session
from dfedge.errors import DfedgeError, unknown_name

__all__ = ["STRATEGIES", "Strategy", "open_strategy"]

STRATEGIES = {
    "none": "dfedge.continual.strategies.none:Plain",
    "anchors": "dfedge.continual.strategies.anchors:Anchors",
    "reservoir": "dfedge.continual.strategies.reservoir:Reservoir",
    "balanced": "dfedge.continual.strategies.balanced:Balanced",
}
"""Name -> module:class; reading the table imports nothing."""


def check_strategy(name: str) -> None:
    """Refuse a name that is no strategy.

    Raises:
        UsageError: naming the known ones.
    """
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, list(STRATEGIES))


def open_strategy(session: Session, settings: Settings) -> Strategy:
    """The settings' strategy, its memory empty.

    Raises:
        UsageError: no such strategy.
        DfedgeError: a budget smaller than one sample, or a bundle that it cannot work on.
    """
    check_strategy(settings.strategy)
    plan = session.bundle.manifest.plan
    if plan.form != "one-pass":
        raise DfedgeError(
            f"{session.bundle.folder}: a net of the {plan.form} form has no anchors to add classes "
            "to; train one of the one-pass form"
        )
    module, name = STRATEGIES[settings.strategy].split(":")
    strategy: Strategy = getattr(import_module(module), name)(session, settings)
    return strategy


def generator(settings: Settings, step: int) -> np.random.Generator:
    """The random numbers of one step: a function of (seed, step) alone, so that a run resumes."""
    return np.random.default_rng([settings.seed, step])
