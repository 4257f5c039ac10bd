"""A simulated fleet as one HTML page: accuracy by round and by device, bytes, who said nothing."""

from dfedge.errors import DfedgeError
from dfedge.fleet.simulate import Report, Round, SimulationPlan
from dfedge.page import figure, start, svg, words


def page(plan: SimulationPlan, report: Report) -> str:
    """The page's text; its plot needs matplotlib, without which there is none."""
    head = ["round", "accuracy", "worst device", "merged", "up, bytes", "down, bytes", "not merged",
            "silent"]  # fmt: skip
    title = f"A fleet of {len(plan.devices):,} devices"
    text = (
        f"{plan.data}; {plan.steps} steps of {plan.batch} a round; rule {plan.rule}; "
        f"shared: {', '.join(plan.share)}; personal: {', '.join(plan.personal) or 'nothing'}"
    )
    return "\n".join([
        start(title, 60), f"<h1>{words(title)}</h1><p>{words(text)}</p>", _plot(report),
        "<table><tr>" + "".join(f"<th>{words(one)}</th>" for one in head) + "</tr>",
        *("<tr>" + "".join(f"<td>{words(cell)}</td>" for cell in row(one)) + "</tr>"
          for one in report.rounds),
        "</table>", _devices(report), "",
    ])  # fmt: skip


def row(one: Round) -> list[str]:
    """A round's cells, as text."""
    worst = min(one.own, key=lambda name: one.own[name], default="")
    return [
        str(one.round),
        f"{100 * one.accuracy:.2f} %" if one.accuracy >= 0 else "-",
        f"{100 * one.own[worst]:.2f} % ({worst})" if worst else "-",
        f"{one.merged:,}", f"{one.bytes_up:,}", f"{one.bytes_down:,}",
        ", ".join(one.passed) or "-", f"{len(one.silent):,}",
    ]  # fmt: skip


def _devices(report: Report) -> str:
    """Accuracy of every device on its own test, before and at the end."""
    if not report.rounds or not report.rounds[-1].own:
        return ""
    last = report.rounds[-1].own
    cells = [
        f"<tr><td>{words(name)}</td><td>{100 * report.before_own[name]:.2f} %</td>"
        f"<td>{100 * after:.2f} %</td></tr>"
        for name, after in last.items()
    ]
    return "\n".join(
        ["<h2>Devices</h2><table><tr><th>device</th><th>before</th><th>now</th></tr>", *cells,
         "</table>"]
    )  # fmt: skip


def _plot(report: Report) -> str:
    try:
        picture = figure(7, 3)
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
        axes.legend()
    axes.set_xlabel("round")
    axes.set_ylabel("recognised, %")
    return svg(picture)
