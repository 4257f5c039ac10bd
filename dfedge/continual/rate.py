"""Rates other than the bundle's own, for comparisons: a user needs none of them.

The program's own rates follow the error of the stream (the pace, `dfedge.int8`).  Here they are
shifted as a whole, or the pace is set to 0, which keeps them constant.
"""

import numpy as np

from dfedge.device.session import Session

SHIFTED = ("weight_shift", "anchor_shift")
MAX_SHIFT = 24


def set_rates(session: Session, offset: int, pace: int | None) -> None:
    """Set the state's shifts to the bundle's plus the offset, and its pace where one is given."""
    state = session.runner.get_state()
    for name in SHIFTED:
        state[name] = (session.rates[name] + offset).clip(0, MAX_SHIFT).astype(np.int32)
    state["pace"] = session.rates["pace"] if pace is None else np.array(pace, np.int32)
    session.runner.set_state(state)
