"""report.html: the profile as one self-contained file; its charts are SVG inside it."""

from pathlib import Path
from typing import Any

from dfedge.atomic import write_out
from dfedge.footprint import Footprints
from dfedge.page import glossary, scroll, start, svg, verdict, words
from dfedge.profile.chart import bars, timeline
from dfedge.profile.report import MemoryReport
from dfedge.units import size

PAGE = """{start}
<h1>What {net} needs to learn</h1>
{verdict}
<p>Feedback to the layer below: {feedback}; rendering: {rendering}; budget of {target}:
<span id="allowed" data-bytes="{allowed}">{budget}</span> for arena and state.</p>
<h2>Arena and state of every method</h2>{bars}
<h2>Over the schedule</h2>{timelines}
<h2>Methods</h2>{methods}
<h2>Back-propagation of the same net</h2>{rivals}
{terms}
</html>
"""

COLUMNS = (
    "arena_bytes", "lower_bound_bytes", "state_bytes", "stored_activation_bytes", "program_bytes",
    "measured_peak_bytes",
)  # fmt: skip


def write_page(report: MemoryReport, footprints: Footprints, path: Path) -> None:
    """Write the page; every cell of its tables has its exact bytes and its names in ``--json``.

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
        start=start("dfedge profile", 54),
        net=words(report.net),
        feedback=words(report.feedback),
        rendering=words(report.rendering),
        target=words(report.target),
        allowed=report.allowed_bytes,
        budget=size(report.allowed_bytes),
        verdict=_verdict(report),
        methods=_table(methods),
        rivals=_table(rivals) if rivals else f"<p>{words(report.not_computed)}</p>",
        timelines="".join(map(svg, charts)) or "<p>No schedule: nothing was exported.</p>",
        bars=svg(bars(report)),
        terms=glossary("arena", "state", "native", "rendering", "lower bound"),
    )
    write_out(path, page.encode())


def _verdict(report: MemoryReport) -> str:
    """Whether training fits, and what it needs beside back-propagation."""
    name, need = max(
        ((name, need) for name, need in report.methods.items() if name.startswith("train_b")),
        key=lambda found: found[1].arena_bytes,
    )
    ours = need.arena_bytes + need.state_bytes
    fits = "fits" if ours <= report.allowed_bytes else "does NOT fit"
    told = (
        f"Training at batch {name.split('_b')[1]} needs {size(ours)} of arena and state and {fits} "
        f"the {size(report.allowed_bytes)} of {words(report.target)}."
    )
    if report.ratio_to_bp is not None:
        told += (
            f' That is <b id="ratio_to_bp">{report.ratio_to_bp}</b> times what back-propagation '
            f'needs; the arena is <b id="ratio_to_inference">{report.ratio_to_inference}</b> times '
            "that of inference."
        )
    return verdict(told)


def _table(rows: list[tuple[str, str, dict[str, Any]]]) -> str:
    names = (column.removesuffix("_bytes").replace("_", " ") for column in ("", *rows[0][2]))
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        f"<tr><td>{words(what)}</td>"
        + "".join(
            f'<td data-of="{words(key)}" data-field="{column}" data-bytes="{value}">'
            f"{'-' if value is None else size(value)}</td>"
            for column, value in values.items()
        )
        + "</tr>"
        for what, key, values in rows
    )
    return scroll(f"<table><tr>{head}</tr>{body}</table>")
