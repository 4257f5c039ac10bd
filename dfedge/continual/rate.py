"""The learning rate chosen from the stream, as an integer rule.

With e the errors among the last 128 samples, each judged before it was learned, the update shifts
of weights and anchors are the bundle's plus

    offset = min(2, max(-1, 5 - bits(e)))        bits(e): how many binary digits e has

so 32 errors or more double the rate, 16 to 31 leave it, 8 to 15 halve it, fewer quarter it.  The
shifts are state: the rule acts between steps, and all runtimes see the same.
"""

from dfedge.device.session import Session

WINDOW = 128
COOLED = ("weight_shift", "anchor_shift")
MAX_SHIFT = 24


def offset_of(errors: int) -> int:
    """The offset after so many errors among the last `WINDOW` samples."""
    return min(2, max(-1, 5 - errors.bit_length()))


def set_offset(session: Session, offset: int) -> None:
    """Set the state's shifts to the bundle's plus the offset."""
    state = session.runner.get_state()
    for name in COOLED:
        state[name] = (session.rates[name] + offset).clip(0, MAX_SHIFT).astype("int32")
    session.runner.set_state(state)
