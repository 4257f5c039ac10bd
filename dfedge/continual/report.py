"""report.html: one self-contained file; its plots are SVG inside it."""

from pathlib import Path
from typing import Any

import numpy as np

from dfedge.atomic import write_out
from dfedge.continual.run import StreamRun
from dfedge.page import WIDE, figure, glossary, legend, start, svg, table, verdict, words
from dfedge.units import percent, size
from dfedge.visible import visible

WINDOW = 500
"""Samples over which the test-then-train curve is averaged."""
KEPT = ("state", "replay", "guard")
"""What is kept between steps."""

PAGE = """{start}
<h1>Learning on the device: {stream}</h1>
{verdict}
<p>Strategy <b>{strategy}</b> on {data}: {samples:,} samples in {steps:,} steps inside the exported
int8 program, on {runtime}.</p>
<h2>While it learned</h2>{curves}
<h2>Accuracy after each experience (row) on each experience (column), %</h2>{matrix}
<h2>Memory kept between steps</h2>{memory}
<h2>All figures</h2>{rows}
{terms}
</html>
"""


def rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures as (what, value), for the terminal and the page."""
    found = [
        ("average accuracy at the end", percent(result["average_accuracy"])),
        ("forgetting", percent(result["forgetting"])),
        ("backward transfer", percent(result["backward_transfer"])),
        ("forward transfer", percent(result["forward_transfer"])),
        ("recognised before being learned", percent(result["test_then_train"])),
        ("the same, last 500 samples", percent(result["test_then_train_last_500"])),
    ]
    if result["known_accuracy"]:
        before, after = result["known_accuracy"][0], result["known_accuracy"][-1]
        found.append(("known samples, before and after", f"{percent(before)}, {percent(after)}"))
    return [
        *found,
        ("samples, steps", f"{result['samples']:,}, {result['steps']:,}"),
        ("batches without a step", f"{result['skipped']:,}"),
        ("rollbacks by the guard", f"{result['rollbacks']:,}"),
        ("ms per step", f"{result['ms_per_step']:.2f}"),
        *((f"memory for {what}", size(result[f"{what}_bytes"])) for what in KEPT),
        ("SHA-256 of the state", result["state_sha256"][:16]),
    ]  # fmt: skip


def sentence(result: dict[str, Any]) -> str:
    """What came of the stream, in one sentence."""
    first, last = result["accuracy_matrix"][0], result["accuracy_matrix"][-1]
    told = (
        f"Accuracy over all experiences went from {percent(sum(first) / len(first))} to "
        f"{percent(sum(last) / len(last))}"
    )
    if result["known_accuracy"]:
        before, after = result["known_accuracy"][0], result["known_accuracy"][-1]
        told += f", on known samples from {percent(before)} to {percent(after)}"
    return told + "."


def write_report(run: StreamRun, result: dict[str, Any], path: Path) -> None:
    """Write the page.

    Raises:
        DfedgeError: matplotlib is not installed.
    """
    page = PAGE.format(
        start=start(f"dfedge continual: {result['stream']}", 52),
        **{name: words(str(result[name])) for name in ("stream", "strategy", "data", "runtime")},
        samples=result["samples"],
        steps=result["steps"],
        verdict=verdict(words(sentence(result))),
        rows=table([], [list(row) for row in rows(result)]),
        terms=glossary("presentation", "replay", "guard", "state", "anchor"),
        matrix=svg(_matrix(result)),
        curves=svg(_curves(run)),
        memory=svg(_memory(result)),
    )
    write_out(path, page.encode())


def _matrix(result: dict[str, Any]) -> Any:
    r, names = 100 * np.array(result["accuracy_matrix"]), [*map(visible, result["experiences"])]
    picture = figure(min(WIDE, 1.6 + 0.7 * len(names)), 1.2 + 0.34 * len(r))
    axes = picture.subplots()
    axes.imshow(r, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    for (i, j), value in np.ndenumerate(r):
        color = "black" if value > 60 else "white"
        axes.text(j, i, f"{value:.0f}", ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(r)), ["before", *names[: len(r) - 1]], fontsize=8)
    return picture


def _curves(run: StreamRun) -> Any:
    """Test-then-train accuracy, and probes of every experience."""
    picture = figure(WIDE, 5)
    top, bottom = picture.subplots(2, 1, sharex=True)
    right = np.array(run.right, float)
    width = min(WINDOW, max(1, len(right) // 4))
    smooth = 100 * np.convolve(right, np.ones(width) / width, "valid")
    top.plot(np.arange(width - 1, len(right)) + 1, smooth, color="#4c72b0")
    top.set_ylabel(f"recognised before learning, %\n(mean of {width} samples)")
    probes = run.progress.probes
    samples = [probe.samples for probe in probes]
    for j, experience in enumerate(run.stream.experiences):
        found = [100 * probe.accuracy[j] for probe in probes]
        bottom.plot(samples, found, label=experience.name, linewidth=1.2)
    bottom.set_ylabel("test samples of each\nexperience, %")
    bottom.set_xlabel("samples of the stream")
    legend(bottom, 4)
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
        ends = np.cumsum([len(e.train) * run.settings.passes for e in run.stream.experiences])
        for end in ends[:-1]:
            axes.axvline(end, color="#8888", linewidth=0.8, zorder=0)
    return picture


def _memory(result: dict[str, Any]) -> Any:
    picture = figure(WIDE, 1.6)
    axes = picture.subplots()
    sizes = [result[f"{name}_bytes"] / 1024 for name in KEPT]
    bars = axes.barh(KEPT[::-1], sizes[::-1], color="#4c72b0")
    axes.bar_label(bars, fmt="%.1f KiB", padding=4, fontsize=9)
    axes.set_xlim(0, 1.2 * max(sizes))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("KiB")
    return picture
