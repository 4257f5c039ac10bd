"""The host's part of a profile: the native plan and the rivals."""

from dfedge.compile.blank import blank
from dfedge.exporters import planned
from dfedge.exporters.program import Method
from dfedge.footprint import Footprint
from dfedge.native.build import compiler
from dfedge.plan import Plan
from dfedge.profile import rivals
from dfedge.profile.report import Need, Rendering, need
from dfedge.profile.rival import BackpropPlan

RUN = "the arena that the C interpreter asks for; layers from the computed schedule"
COMPUTED = "computed: no C compiler is here"


def native(plan: Plan, methods: list[tuple[str, int]]) -> Rendering:
    """The fused kernels in C, for (kind, batch) of each method."""
    state, planned_only = planned.state_bytes(blank(plan)), compiler() is None
    found = {}
    for kind, batch in methods:
        method = Method(kind, batch)
        arena, schedule = planned.native_arena(plan, method), planned.native(plan, method)
        found[method.name] = need(arena, state, schedule)
    return Rendering(planned_only, COMPUTED if planned_only else RUN, found)


def need_of(found: Footprint, plan: Plan) -> Need:
    """A computed method: its arena is what is alive at most."""
    return need(found.lower_bound_bytes, planned.state_bytes(blank(plan)), found)


def rivals_of(plan: Plan, batch: int) -> dict[str, BackpropPlan]:
    """Back-propagation of what learns, at the same batch, and one by one."""
    bp = rivals.back_propagation(plan, batch)
    single = bp if batch == 1 else rivals.back_propagation(plan, 1)
    return {
        "bp": bp,
        "bp_checkpoint": rivals.checkpointed(plan, batch),
        "bp_accumulated": rivals.accumulated(single),
        "bp_int8_ideal": rivals.int8_ideal(plan, batch),
    }
