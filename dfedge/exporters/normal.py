"""How far from normal a sample may be: the threshold that a bundle brings."""

import logging
import math

import numpy as np
import torch
from numpy.typing import NDArray

from dfedge.compile import step
from dfedge.compile.state import State
from dfedge.data.catalogue import Catalogue
from dfedge.data.modes import HELD
from dfedge.device.normal import distances
from dfedge.exporters.learning import seen
from dfedge.int8.trunk import Constants
from dfedge.learn.run import RunPlan
from dfedge.manifest import Threshold
from dfedge.plan import Plan

LOG = logging.getLogger(__name__)
CHUNK = 256


def threshold(
    own: RunPlan, data: Catalogue, plan: Plan, state: State, constants: Constants
) -> Threshold:
    """The threshold that the run's rate of false alarms asks for, by its held-back normal samples.

    Of n of them and a rate a, the distance of number ``ceil((1 - a) (n + 1))`` from below: of a new
    sample like them it is exceeded with a probability of at most a (V. Vovk and others, 2005).
    Where n is too small for that it is the largest of them, and that is said.
    """
    assert own.normal is not None
    rate, held = own.normal.false_alarms, data.part(HELD)[1].read(own.input)
    arrays = {name: value.numpy() for name, value in state.items()}
    far: list[NDArray[np.int64]] = []
    for start in range(0, len(held), CHUNK):
        x = torch.from_numpy(seen(plan, constants, held.x[start : start + CHUNK]))
        *features, _ = step.features(plan, state, x)
        far.append(distances(plan, arrays, [p.numpy() for p in features]).min(1))
    ordered = np.sort(np.concatenate(far))
    count = len(ordered)
    number = math.ceil((1 - rate) * (count + 1))
    if number > count:
        LOG.info("%s: %d normal samples are held back, too few for %g false alarms in 100; the "
                 "threshold is the farthest of them", own.data, count, 100 * rate)  # fmt: skip
    return Threshold(int(ordered[min(number, count) - 1]), rate, count)
