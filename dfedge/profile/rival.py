"""One way of training by back-propagation, in bytes."""

import msgspec

from dfedge.footprint import Footprint


class BackpropPlan(msgspec.Struct, frozen=True):
    """A plan of back-propagation.

    Attributes:
        arena_bytes: temporaries and stored activations.
        state_bytes: weights, and accumulated gradients where there are any.
        source: who planned it, from what.
        footprint: the schedule of its arena, where there is one.
    """

    arena_bytes: int
    state_bytes: int
    source: str
    footprint: Footprint | None = None
