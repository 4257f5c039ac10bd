"""report.html: the profile as one self-contained file; its charts are SVG inside it."""

from pathlib import Path
from typing import Any

from dfedge.atomic import write_out
from dfedge.footprint import Footprints
from dfedge.page import start, svg, words
from dfedge.profile.chart import bars, timeline
from dfedge.profile.report import Report

PAGE = """{start}
<h1>What {net} needs to learn</h1>
<p>Feedback to the layer below: {feedback}; rendering: {rendering}. {target} leaves a model
<span id="allowed">{allowed}</span> bytes.</p>
{verdict}
<h2>Methods, in bytes</h2>{methods}
<h2>Back-propagation of the same net, in bytes</h2>{rivals}
<h2>Over the schedule</h2>{timelines}
<h2>Against the budget</h2>{bars}
</html>
"""

COLUMNS = (
    "arena_bytes", "lower_bound_bytes", "state_bytes", "stored_activation_bytes", "program_bytes",
    "measured_peak_bytes",
)  # fmt: skip


def write_page(report: Report, footprints: Footprints, path: Path) -> None:
    """Write the page; every number of its tables carries the names that ``--json`` gives it.

    Raises:
        DfedgeError: a place that cannot be written.
    """
    format = next((name for name in ("executorch", *footprints) if name in footprints), "")
    found = footprints.get(format, {})
    train = [name for name in report.methods if name.startswith("train_b")]
    charts = [
        timeline(
            found[name],
            f"{format} {name}",
            report.rivals_by_batch.get(name.split("_b")[1], {}).get("bp"),
        )
        for name in train
        if name in found
    ]
    methods = [
        (f"{rendering} {method}", f"{rendering}/{method}",
         {column: getattr(need, column) for column in COLUMNS})
        for rendering, made in report.renderings.items()
        for method, need in made.methods.items()
    ]  # fmt: skip
    rivals = [
        (f"{name}, batch {batch} ({rival.source})", f"{name}/{batch}",
         {"arena_bytes": rival.arena_bytes, "state_bytes": rival.state_bytes})
        for batch, made in report.rivals_by_batch.items()
        for name, rival in made.items()
    ]  # fmt: skip
    page = PAGE.format(
        start=start("dfedge profile", 54, "td + td, th + th"),
        net=words(report.net),
        feedback=words(report.feedback),
        rendering=words(report.rendering),
        target=words(report.target),
        allowed=report.allowed_bytes,
        verdict=_verdict(report),
        methods=_table(methods),
        rivals=_table(rivals) if rivals else f"<p>{words(report.not_computed)}</p>",
        timelines="".join(map(svg, charts)) or "<p>No schedule: nothing was exported.</p>",
        bars=svg(bars(report)),
    )
    write_out(path, page.encode())


def _verdict(report: Report) -> str:
    if report.ratio_to_bp is None:
        return ""
    return (
        f'<p>Training needs <b id="ratio_to_bp">{report.ratio_to_bp}</b> of what back-propagation '
        f'does (arena and state); its arena is <b id="ratio_to_inference">'
        f"{report.ratio_to_inference}</b> times that of inference.</p>"
    )


def _table(rows: list[tuple[str, str, dict[str, Any]]]) -> str:
    head = "".join(f"<th>{column.replace('_', ' ')}</th>" for column in ("", *rows[0][2]))
    body = "".join(
        f"<tr><td>{words(what)}</td>"
        + "".join(
            f'<td data-of="{words(key)}" data-field="{column}">'
            f"{'-' if value is None else value}</td>"
            for column, value in values.items()
        )
        + "</tr>"
        for what, key, values in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
