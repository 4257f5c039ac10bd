"""Bounds on the instructions of a bundle's calls as C on a microcontroller."""

from dfedge.bundle import Bundle
from dfedge.native.instructions.bound import bounds
from dfedge.native.table import make_table


def bounds_of(bundle: Bundle) -> dict[str, dict[str, int]]:
    """Instructions at most, by call and set of kernels; see `bounds`.

    Raises:
        DfedgeError: a damaged file of the bundle.
    """
    plan = bundle.manifest.plan
    return bounds(make_table(plan, bundle.initial_state(), bundle.constants()))
