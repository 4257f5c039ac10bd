"""What a bundle brings along for learning under a guard: samples to replay on the device and to
judge by, and the rates as they were measured.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.compile.state import State
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.device.confidence import fitted
from dfedge.exporters.learner import Learner
from dfedge.exporters.learning import received
from dfedge.int8.trunk import Constants
from dfedge.learn.kept import KeptSamples
from dfedge.plan import Plan
from dfedge.state import SHIFTS

REPLAYED, JUDGING = 512, 256
LEAST, MAX_BYTES = 32, 1 << 21
"""Samples of each kind, and its bytes above which there are fewer, down to `LEAST`."""


def known_arrays(kept: KeptSamples, measured: State) -> dict[str, NDArray[Any]]:
    """As `dfedge.bundle.Bundle.known` gives them.

    Args:
        measured: the first state, before the trial of learning.
    """
    each = int(np.prod(kept.trained.x.shape[1:]))
    fit = max(MAX_BYTES // max(each, 1), LEAST)
    parts = {
        "replay": _by_class(kept.trained, min(REPLAYED, fit)),
        "judge": _by_class(kept.held_out, min(JUDGING, fit)),
    }
    samples = {
        f"{name}.{part}": value
        for name, split in parts.items()
        for part, value in (("x", to_input(split.x)), ("y", split.y.astype(np.int32)))
    }
    return samples | {name: measured[name].numpy() for name in SHIFTS if name in measured}


def temperature(
    known: dict[str, NDArray[Any]], plan: Plan, state: State, constants: Constants
) -> int:
    """How sure answers are, by the samples that judge (`dfedge.device.confidence.fitted`)."""
    if not known:
        return 0
    x = received(plan, constants, known["judge.x"])
    return fitted(Learner(plan, state).scores(x), known["judge.y"])


def _by_class(split: Split, count: int) -> Split:
    """At most ``count`` samples: one of each class in turn, in the order in which they are kept."""
    rank = np.zeros(len(split), np.int64)
    for label in np.unique(split.y):
        at = np.flatnonzero(split.y == label)
        rank[at] = np.arange(len(at))
    return split.take(np.argsort(rank, kind="stable")[:count].astype(np.int64))
