"""What a bundle brings along for learning under a guard (`dfedge.device.care`).

Samples of what the net knows: those to replay are of its training data, those to judge by it was
never trained on.  A bundle that brings none (``dfedge train --no-keep``) has its golden batches for
both.  And the rates that were measured, before the trial at export slowed them.
"""

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.store import Remembered
from dfedge.state import SHIFTS, State

Known = tuple[NDArray[np.int8], NDArray[np.int64]]
"""Inputs int8 [N, H, W, C] and their rows int64 [N]."""


def known_samples(bundle: Bundle) -> Known:
    """Samples to replay: a memory of the classes that were there before."""
    known = bundle.known()
    return _pair(known, "replay") if known else _golden(bundle)


def judging_samples(bundle: Bundle) -> Known:
    """Samples to judge a state by."""
    known = bundle.known()
    return _pair(known, "judge") if known else _golden(bundle)


def replayed(known: Known, remembered: Remembered) -> Known:
    """And those of classes that were added: as many of each as the bundle has of its own."""
    q, rows = remembered
    if not len(rows):
        return known
    added = np.unique(rows)
    each = max(len(known[1]) // len(np.unique(known[1])), 1)
    at = np.concatenate([np.resize(np.flatnonzero(rows == row), each) for row in added])
    return np.concatenate([known[0], q[at]]), np.concatenate([known[1], rows[at].astype(np.int64)])


def guarded_rates(bundle: Bundle, replace: bool) -> State:
    """The part of `dfedge.device.rates.RATES` that is another one under a guard.

    Args:
        replace: the old may go, so there is no error that is usual.
    """
    known = bundle.known()
    shifts: State = {name: known[name] for name in SHIFTS if name in known}
    return {**shifts, "usual_error": np.zeros((), np.int32)} if replace else shifts


def _pair(known: dict[str, NDArray[np.generic]], name: str) -> Known:
    return known[f"{name}.x"].astype(np.int8), known[f"{name}.y"].astype(np.int64)


def _golden(bundle: Bundle) -> Known:
    """Every other golden batch carries labels moved by one class (`dfedge.exporters.golden`); they
    are moved back.
    """
    golden, live = bundle.golden(), len(bundle.manifest.classes)
    x, y = golden["x"], golden["y"].astype(np.int64)
    y[1::2] = (y[1::2] - 1) % live
    return x.reshape(-1, *x.shape[2:]), y.reshape(-1)
