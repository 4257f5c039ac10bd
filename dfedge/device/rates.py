"""The rates of learning on the device: shifts in the state, and the pace at which they follow the
error (`dfedge.lower.pace`).  One more in a shift is half the rate.
"""

import numpy as np

from dfedge.device.session import Session
from dfedge.plan import MAX_UPDATE_SHIFT

OFFSET = ("weight_shift", "anchor_shift")


def set_rates(session: Session, pace: int | None = None, offset: int = 0) -> None:
    """Write the session's rates into its state.

    Args:
        pace: in the place of the session's own; 0 keeps the rates constant.
        offset: added to the weights' and the anchors' shifts.
    """
    state = session.runner.get_state() | session.rates
    for name in OFFSET:
        if name in state:
            moved = (state[name] + offset).clip(0, MAX_UPDATE_SHIFT)
            state[name] = moved.astype(np.int32)
    if pace is not None:
        state["pace"] = np.array(pace, np.int32)
    session.runner.set_state(state)
