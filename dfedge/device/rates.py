"""The rates of learning on the device: shifts in the state, and the pace at which they follow the
error (`dfedge.compile.pace`).  One more in a shift is half the rate.
"""

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.device.lock import alone
from dfedge.plan import MAX_UPDATE_SHIFT
from dfedge.state import SHIFTS, State

if TYPE_CHECKING:
    from dfedge.device.session import Session

RATES = ("weight_shift", "anchor_shift", "usual_error", "pace")
"""The state that steers how fast each layer learns: one more is half as fast."""


def halvings(factor: float) -> int:
    """How many halvings come nearest to a factor of all rates; negative: doublings."""
    return -round(math.log2(factor))


def slowed(state: State, more: int) -> State:
    """A state whose weights' and anchors' rates are halved so many times more.

    What is frozen stays so, and nothing becomes so: the same rates come back with ``-more``.
    """

    def moved(shift: NDArray[np.generic]) -> NDArray[np.int8]:
        limited = (shift.astype(np.int32) + more).clip(0, MAX_UPDATE_SHIFT - 1)
        return np.where(shift == MAX_UPDATE_SHIFT, MAX_UPDATE_SHIFT, limited).astype(np.int8)

    return {**state, **{name: moved(state[name]) for name in SHIFTS if name in state}}


@alone
def set_rates(session: "Session", pace: int | None = None, offset: int = 0) -> None:
    """Write the session's rates into its state, halved as often as the guard has found it right.

    Args:
        pace: in the place of the session's own; 0 keeps the rates constant.
        offset: added to the weights' and the anchors' shifts.
    """
    session.settle()
    caution = session.record.caution if session.care.guard else 0
    state = slowed(session.runner.get_state() | session.rates, offset + caution)
    if pace is not None:
        state = {**state, "pace": np.array(pace, np.int32)}
    session.runner.set_state(state)
    session.record = msgspec.structs.replace(session.record, guarded=session.care.guard)
