"""The profile of a net that has no weights yet: everything in it is computed."""

import re

from msgspec.structs import replace

from dfedge.errors import UsageError, unknown_name
from dfedge.exporters import planned
from dfedge.exporters.program import Method
from dfedge.int8.bounds import check_sizes
from dfedge.learn.skeleton import skeleton
from dfedge.learn.spec import load_spec
from dfedge.native.rendering import by_interpreter
from dfedge.plan import Plan
from dfedge.profile.compare import native, need_of, rivals_of
from dfedge.profile.report import MemoryReport, Rendering, summary
from dfedge.rules import feedback_of, on_device
from dfedge.target import budget_of, load_target

COMPUTED = "computed: liveness of the stock rendering, before any export"


def untrained(
    net: str,
    input: str,
    classes: int,
    batch: int,
    depth: int | None,
    rule: str,
    target: str,
    budget: str | None,
    formats: tuple[str, ...],
) -> MemoryReport:
    """Profile a net by its description.

    Args:
        input: CHANNELSxHEIGHTxWIDTH.

    Raises:
        UsageError: an unknown net, rule, target or format, or an input that is not a shape.
        DfedgeError: an image too small for the net, or sizes that the integer step cannot hold.
    """
    plan = plan_of(net, input, classes, depth, rule)
    check_sizes(plan, batch)
    device = load_target(target)
    allowed = budget_of(device, target, budget)
    sizes = sorted({1, batch})
    names = [(kind, size) for kind in ("train", "infer") for size in sizes]
    renderings = {
        format: Rendering(True, COMPUTED, {
            f"{kind}_b{size}": need_of(planned.stock(plan, Method(kind, size), format), plan)
            for kind, size in names
        })
        for format in formats
        if not by_interpreter(format)  # these are native
    }  # fmt: skip
    renderings["native"] = native(plan, names)
    return summary(
        MemoryReport(
            bundle_sha256="",
            net=net,
            feedback=plan.feedback,
            target=target,
            target_ram_bytes=device.ram_bytes,
            allowed_bytes=allowed.ram_bytes,
            rendering="native",
            methods=renderings["native"].methods,
            renderings=renderings,
            rivals={},
            rivals_by_batch={str(size): rivals_of(plan, size) for size in sizes},
            not_computed="",
            ratio_to_bp=None,
            ratio_to_inference=None,
            measured=[],
        )
    )


def plan_of(net: str, input: str, classes: int, depth: int | None, rule: str) -> Plan:
    """The plan of a net that has no weights: its sizes, not its numbers.

    Raises:
        UsageError: an unknown net or rule, or an input that is not a shape.
        DfedgeError: an image too small for the net.
    """
    found = re.fullmatch(r"(\d+)x(\d+)x(\d+)", input)
    if not found or not all(int(n) for n in found.groups()):
        raise UsageError(f"--input {input}: write it as CHANNELSxHEIGHTxWIDTH, for example 3x32x32")
    channels, height, width = (int(n) for n in found.groups())
    feedback = feedback_of(rule)
    if feedback is None:
        raise unknown_name("rule of the device", rule, on_device())
    plan = skeleton(load_spec(net, depth), (height, width, channels), classes)
    return replace(plan, feedback=feedback)
