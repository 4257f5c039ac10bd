"""The pace of learning: rates that follow the error, as an integer rule inside the step.

    error' = error - (error >> k) + wrong (2^(16-k) // B)       k = max(0, 8 - log2 B)
    slowing = how many of 2^-4, 2^-5, ... 2^-11 the excess, error - usual_error, is below, at most
              `pace`
    every weight and anchor shift of this step is its own plus slowing

`error` is the running fraction of samples that were misjudged before they were learned, in units of
2^-16, over about the last 256; `usual_error` is what the net misjudges of its own kind of data,
measured at export on samples held out. A net that does as well as it can takes steps of a
sixteenth, whether it misjudges one sample in a hundred or four in ten; one that meets something new
is at its full rate within a few dozen samples, and slows down as it learns. `error` begins at zero,
so that a device's first steps are small. Nobody has to know the length of the stream, as a cooling
schedule would. At a constant rate a trained net loses what it knew
(examples/experiments/own_data.py).
"""

import math

import torch
from torch import Tensor
from torch import int32 as i32

from dfedge.compile.state import State, masked
from dfedge.int8 import ops
from dfedge.int8.stock.goodness import one_hot
from dfedge.plan import MAX_PACE, MAX_UPDATE_SHIFT
from dfedge.state import SHIFTS

ERROR_BITS = 16
HORIZON_LOG = 8
"""Samples over which the error is averaged."""
FULL = 4
"""From an excess of 2^-4 on, learning is at its full rate."""
PACE = 4
"""The most that a shift grows by; 0 keeps the rate constant."""


def paced(state: State) -> State:
    """The state as this step reads it: its shifts grown while there is little to learn."""
    limits = torch.tensor([1 << (ERROR_BITS - FULL - j) for j in range(MAX_PACE)], dtype=i32)
    below = (limits > state["error"] - state["usual_error"]).to(i32).sum(dtype=i32)
    slowing = torch.minimum(below, state["pace"])
    grown = {name: state[name].to(i32) + slowing for name in SHIFTS if name in state}
    return state | {name: shift.clamp(max=MAX_UPDATE_SHIFT) for name, shift in grown.items()}


def error_after(state: State, scores: Tensor, y: Tensor) -> Tensor:
    """The error after a batch: int32 scalar in [0, 2^16].

    Args:
        scores: int32 [B, K], `masked`, from before the update; a sample is misjudged where another
            class scores as much as its own.
        y: int32 [B].
    """
    batch, classes = scores.shape
    right = one_hot(y, classes)
    own = (scores * right).sum(1, dtype=i32)
    best = masked(scores, 1 - right).amax(1)
    wrong = batch - (own > best).to(i32).sum(dtype=i32)
    k = max(0, HORIZON_LOG - round(math.log2(batch)))
    error = state["error"]
    return error - ops.coarse(error, k) + wrong * ((1 << (ERROR_BITS - k)) // batch)
