"""A simulated fleet as one HTML page: accuracy by round and by device, bytes, who said nothing."""

from dfedge.errors import DfedgeError
from dfedge.fleet.simulate import FleetReport, Round, SimulationPlan
from dfedge.page import WIDE, figure, glossary, legend, start, svg, table, verdict, words
from dfedge.units import percent, size

HEAD = ["round", "accuracy", "worst device", "merged", "bytes up", "bytes down", "not merged",
        "silent", "epsilon"]  # fmt: skip
"""Of `row`; epsilon where there is noise."""


def page(plan: SimulationPlan, report: FleetReport) -> str:
    """The page's text; its plot needs matplotlib, without which there is none."""
    title = f"A fleet of {len(plan.devices):,} devices"
    text = (
        f"{plan.data}; {plan.steps} steps of {plan.batch} a round; rates x {2.0**-plan.slower:g}; "
        f"rule {plan.rule}{_noise(plan)}; "
        f"shared: {', '.join(plan.share)}; personal: {', '.join(plan.personal) or 'nothing'}"
    )
    return "\n".join(
        [
            start(title, 60),
            f"<h1>{words(title)}</h1>",
            verdict(words(sentence(report))),
            f"<p>{words(text)}</p>",
            _plot(report),
            _table("Rounds", head(plan), [row(one) for one in report.rounds]),
            _left_out(report),
            _devices(report),
            glossary("delta", "presentation", "state", "anchor"),
            "",
        ]
    )


def sentence(report: FleetReport) -> str:
    """What the rounds came to, in one sentence."""
    if not report.rounds:
        return "No round was run."
    last = report.rounds[-1]
    sent = size(sum(one.bytes_up + one.bytes_down for one in report.rounds))
    if last.accuracy < 0:
        own = [sum(look.values()) / max(len(look), 1) for look in (report.before_own, last.own)]
        told = f"each device recognises {percent(own[1])} of its own tests in the mean"
        return f"After {last.round} rounds {told} ({percent(own[0])} before); {sent} were sent."
    before = f" ({percent(report.before)} before)" if report.before >= 0 else ""
    return (
        f"After {last.round} rounds the base recognises {percent(last.accuracy)}{before}; {sent} "
        "were sent."
    )


def row(one: Round) -> list[str]:
    """A round's cells, as text."""
    worst = min(one.own, key=lambda name: one.own[name], default="")
    return [
        str(one.round),
        f"{100 * one.accuracy:.2f} %" if one.accuracy >= 0 else "-",
        f"{100 * one.own[worst]:.2f} % ({worst})" if worst else "-",
        f"{one.merged:,}", f"{one.bytes_up:,}", f"{one.bytes_down:,}",
        f"{len(one.passed):,}", f"{len(one.silent):,}",
        *([f"{one.epsilon:.3g}"] if one.epsilon is not None else []),
    ]  # fmt: skip


def head(plan: SimulationPlan) -> list[str]:
    """What the cells of a `row` are."""
    return HEAD if plan.privacy else HEAD[:-1]


def aligned(cells: list[str]) -> str:
    """A row for a terminal, where rounds come one by one."""
    return "  ".join(cell.rjust(max(len(head), 8)) for cell, head in zip(cells, HEAD, strict=False))


def _noise(plan: SimulationPlan) -> str:
    hidden = plan.privacy
    if hidden is None:
        return ""
    return (
        f" with noise, multiplier {hidden.noise_multiplier:g}, clip norm {hidden.clip_norm:g}, "
        f"epsilon at delta {hidden.dp_delta:g}"
    )


def _left_out(report: FleetReport) -> str:
    """Which devices had no part in a round, and why."""
    rows = [
        [str(one.round), name, why]
        for one in report.rounds
        for name, why in [*one.passed.items(), *((name, "silent") for name in one.silent)]
    ]
    return _table("Left out", ["round", "device", "why"], rows) if rows else ""


def _devices(report: FleetReport) -> str:
    """Accuracy of every device on its own test, before and after each round."""
    if not report.before_own:
        return ""
    looks = [report.before_own, *(one.own for one in report.rounds)]
    rows = [[name, *(f"{100 * look[name]:.1f}" for look in looks)] for name in report.before_own]
    head = ["device", "before", *(str(one.round) for one in report.rounds)]
    return _table("Devices: recognised of their own tests, %, by round", head, rows)


def _table(title: str, head: list[str], rows: list[list[str]]) -> str:
    return f"<h2>{words(title)}</h2>{table(head, rows)}"


def _plot(report: FleetReport) -> str:
    try:
        picture = figure(WIDE, 3)
    except DfedgeError:  # a device may have no matplotlib
        return ""
    axes = picture.subplots()
    own = [report.before_own, *(one.own for one in report.rounds)]
    numbers = list(range(len(own)))
    for name in own[0]:
        axes.plot(numbers, [100 * one[name] for one in own], color="#bbb", linewidth=0.8)
    if report.before >= 0:
        every = [report.before, *(one.accuracy for one in report.rounds)]
        axes.plot(numbers, [100 * one for one in every], label="the base, on all data")
        legend(axes)
    axes.set_xlabel("round")
    axes.set_ylabel("recognised, %")
    return svg(picture)
