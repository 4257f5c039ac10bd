"""Will it fit?  What a refusal says, and what would fit: computed by `dfedge.exporters.planned`."""

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from dfedge.compile.blank import blank, blank_constants
from dfedge.compile.state import layer_of
from dfedge.errors import DfedgeError
from dfedge.exporters import planned
from dfedge.exporters.program import Method
from dfedge.footprint import Footprint
from dfedge.int8.bounds import broken_bounds
from dfedge.int8.stock.tiled import FLOORS
from dfedge.learn.skeleton import skeleton
from dfedge.learn.spec import NETS, load_spec
from dfedge.manifest import MemoryPlan
from dfedge.native.rendering import RENDERED
from dfedge.plan import Plan
from dfedge.target import Budget
from dfedge.units import apart, size

TIGHTEST = FLOORS[-2]
"""The smallest tiles by which advice is computed: smaller ones save next to nothing more."""
TILES = 64
"""Advice cuts tiles no smaller than such a part of the budget: that would save nothing."""
AMPLE = 1 << 28
"""A budget that no tile is cut for."""


def check_plans(
    budget: Budget,
    format: str,
    plan: Plan,
    memory: Mapping[Method, MemoryPlan],
    footprints: Mapping[str, Footprint],
) -> None:
    """Refuse a program whose arena and state exceed the budget.

    Raises:
        DfedgeError: with the worst method, what it needs, what is allowed, its largest tensors with
            their layers, and what would fit.
    """
    worst = max(memory, key=lambda method: memory[method].arena_bytes)
    need = memory[worst]
    needs = need.arena_bytes + need.state_bytes
    if needs <= budget.ram_bytes:
        return
    needed, allowed = apart(needs, budget.ram_bytes)
    largest = ", ".join(
        f"{live.name} of {_layer(live.layer)} {size(live.bytes)}"
        for live in footprints[worst.name].largest[:3]
    )
    raise DfedgeError(
        f"{format} method {worst.name} needs {needed} of RAM (arena {size(need.arena_bytes)}, "
        f"state {size(need.state_bytes)}); {budget.words} allows {allowed}. "
        f"Largest at its fullest: {largest}. " + advice(budget, format, plan, worst.batch)
    )


def check_possible(budget: Budget, plan: Plan, batch: int) -> None:
    """Refuse at once what no rendering of the step can fit: the smallest plan of inference.

    Raises:
        DfedgeError: with what even inference needs.
    """
    state = planned.state_bytes(blank(plan))
    constants = planned.state_bytes(blank_constants(plan))
    if constants + state > budget.flash_bytes:
        raise DfedgeError(
            f"the frozen trunk's constants ({size(constants)}) and the first state ({size(state)}) "
            f"exceed the {size(budget.flash_bytes)} of flash that {budget.words} allows; adopt a "
            "smaller net, or choose a larger --target"
        )
    arena = planned.native_arena(plan, Method("infer", 1))
    if arena + state > budget.ram_bytes:
        needed, allowed = apart(arena + state, budget.ram_bytes)
        raise DfedgeError(
            f"even inference at batch 1 needs {needed} of RAM in any rendering (arena "
            f"{size(arena)}, state {size(state)}); {budget.words} allows {allowed}. "
            + advice(budget, "c", plan, 1)
        )


def needs_bytes(plan: Plan, method: Method, format: str, budget: Budget) -> int:
    """Arena and state that the computed plan gives for a method, in tiles small for the budget."""
    arena = planned.arena(plan, method, format, _tile_bytes(budget))
    return arena + planned.state_bytes(blank(plan))


def _fits(plan: Plan, method: Method, format: str, budget: Budget) -> bool:
    """Whether that is within the budget."""
    left = budget.ram_bytes - planned.state_bytes(blank(plan))
    return planned.fits(plan, method, format, _tile_bytes(budget), left)


def _tile_bytes(budget: Budget) -> int:
    wanted = max(budget.ram_bytes // TILES, TIGHTEST)
    return max(floor for floor in FLOORS if floor <= wanted)


def tile_bytes_for(budget: Budget, format: str, plan: Plan, batch: int) -> int:
    """The largest tiles with which training fits, a quarter left to the planner; else the smallest.

    A format's own planner needs more than what is alive at most: so far up to 22 %.
    """
    if format not in planned.TILED or budget.ram_bytes >= AMPLE:
        return FLOORS[0]
    for tile_bytes in FLOORS:
        found = planned.stock(plan, Method("train", batch), format, tile_bytes)
        state = planned.state_bytes(blank(plan))
        if found.lower_bound_bytes * 5 // 4 + state <= budget.ram_bytes:
            return tile_bytes
    return FLOORS[-1]


def advice(budget: Budget, format: str, plan: Plan, batch: int) -> str:
    """What would fit, of this net as it is trained, else of what would have to be trained."""
    fits = list(_fitting(budget, format, plan, batch)) or list(_trained_again(budget, format, plan))
    if fits:
        return "By the computed plan these fit: " + "; ".join(fits) + "."
    others = "not its head alone" if plan.adopted else "no single cell, no net by name"
    return (
        f"Nothing tried fits: no smaller batch, no frozen layers, {others}; "
        "choose a larger --target."
    )


def _fitting(budget: Budget, format: str, plan: Plan, batch: int) -> Iterator[str]:
    """Of the same net and weights."""
    fused = needs_bytes(plan, Method("train", batch), "c", budget)
    if format != "c" and fused <= budget.ram_bytes:
        yield f"--format c at --batch {batch} ({size(fused)})"
    if format in RENDERED and fused <= budget.ram_bytes:
        yield f"--rendering native ({size(fused)})"
    found = deepest(budget, format, plan, batch)
    if found:
        yield f"--train-layers last:{found[0]} at --batch {batch} ({size(found[1])})"
    if batch > 1:
        smaller = largest_batch(budget, format, plan, batch - 1)
        if smaller:
            yield f"--batch {smaller[0]} ({size(smaller[1])})"
        else:
            found = deepest(budget, format, plan, 1)
            if found:
                yield f"--train-layers last:{found[0]} at --batch 1 ({size(found[1])})"
    head = _head_bytes(budget, format, plan)
    if head is not None and head <= budget.ram_bytes:
        yield f"dfedge adopt with --learn head, at --batch 1 (about {size(head)})"


def _head_bytes(budget: Budget, format: str, plan: Plan) -> int | None:
    """What an adopted net needs whose head alone learns: what is below it lies in flash then."""
    head = next((i for i in reversed(range(len(plan.layers))) if plan.layers[i].mean), 0)
    if head == 0 or not plan.adopted:
        return None
    frozen = replace(plan, cut=head)
    flash = sum(
        value.numel() * value.element_size()
        for name, value in blank(plan).items()
        if (layer := layer_of(name)) is not None and layer < head
    )
    return needs_bytes(frozen, Method("train", 1), format, budget) - flash


def _trained_again(budget: Budget, format: str, plan: Plan) -> Iterator[str]:
    """Of what is to be trained anew: with fewer cells, or the largest of the nets by name."""
    if plan.adopted:
        return
    single = replace(plan, layers=tuple(replace(layer, cells=1) for layer in plan.layers))
    needs = needs_bytes(single, Method("train", 1), format, budget)
    if single != plan and needs <= budget.ram_bytes:
        yield f"anchors = 1 in the net's file, trained again, at --batch 1 ({size(needs)})"
    for needs, name in sorted(_by_name(budget, plan), reverse=True):
        fits = needs_bytes(_named(name, plan), Method("train", 1), format, budget)
        if needs <= budget.ram_bytes and fits <= budget.ram_bytes:
            yield f"dfedge train --net {name}, at --batch 1 ({size(fits)})"
            return


def _named(name: str, plan: Plan) -> Plan:
    """A net of this name, for the samples and classes of a plan."""
    made = skeleton(load_spec(name), plan.seen_shape, plan.classes, plan.form)
    return replace(made, feedback=plan.feedback)


def _by_name(budget: Budget, plan: Plan) -> Iterator[tuple[int, str]]:
    """Nets that have a name and take such samples, with what the interpreter needs for them."""
    for name in sorted(path.stem for path in NETS.glob("*.toml")):
        try:
            yield needs_bytes(_named(name, plan), Method("train", 1), "c", budget), name
        except DfedgeError:
            continue  # a map that its pools leave nothing of


def largest_batch(budget: Budget, format: str, plan: Plan, limit: int) -> tuple[int, int] | None:
    """The largest power-of-two batch up to a limit that trains within the budget, and its bytes.

    A larger batch needs more. The search begins where it will end if a format needs as many times
    the interpreter's bytes as it does at batch 1: those are known at once, others are traced.
    """
    batches = [1 << i for i in range(limit.bit_length())]
    batches = [batch for batch in batches if not broken_bounds(plan, batch)]

    def needs(at: int, format: str = format) -> int:
        return needs_bytes(plan, Method("train", batches[at]), format, budget)

    def fits(at: int) -> bool:
        return _fits(plan, Method("train", batches[at]), format, budget)

    if not batches or not fits(0):
        return None
    times = needs(0) / needs(0, "c")
    at = len(batches) - 1
    while at > 0 and times * needs(at, "c") > budget.ram_bytes:
        at -= 1
    begun = at
    while not fits(at):
        at -= 1
    while begun == at < len(batches) - 1 and fits(at + 1):
        begun = at = at + 1
    return batches[at], needs(at)


def deepest(budget: Budget, format: str, plan: Plan, batch: int) -> tuple[int, int] | None:
    """The most layers (``last:N``, fewer than all) that train within the budget, and the bytes."""
    for count in range(len(plan.layers) - 1, 0, -1):
        frozen = replace(plan, cut=len(plan.layers) - count)
        needs = needs_bytes(frozen, Method("train", batch), format, budget)
        if needs <= budget.ram_bytes:
            return count, needs
    return None


def _layer(layer: int | None) -> str:
    return "no layer" if layer is None else "the input" if layer < 0 else f"layer{layer}"
