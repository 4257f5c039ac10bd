"""report.html: one self-contained file; its plots are SVG inside it."""

from pathlib import Path
from typing import Any

import numpy as np

from dfedge.atomic import write_out
from dfedge.continual.run import Run
from dfedge.page import figure, start, svg, words
from dfedge.visible import visible

WINDOW = 500
"""Samples over which the test-then-train curve is averaged."""
KEPT = ("state", "replay", "guard")
"""What is kept between steps."""

PAGE = """{start}
<h1>Learning on the device: {stream}</h1>
<p>Strategy <b>{strategy}</b> on {data}, {samples:,} samples in {steps:,} steps inside the exported
int8 program, on {runtime}.</p>
<table>{rows}</table>
<h2>Accuracy after each experience (row) on each experience (column), %</h2>{matrix}
<h2>While it learned</h2>{curves}
<h2>Memory kept between steps</h2>{memory}
</html>
"""


def rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures as (what, value), for the terminal and the page."""

    def percent(value: float) -> str:
        return f"{100 * value:.1f} %"

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
        found.append(("what was known, before and after", f"{percent(before)}, {percent(after)}"))
    return [
        *found,
        ("samples, steps", f"{result['samples']:,}, {result['steps']:,}"),
        ("batches without a step", f"{result['skipped']:,}"),
        ("rollbacks by the guard", f"{result['rollbacks']:,}"),
        ("ms a step", f"{result['ms_per_step']:.2f}"),
        *((f"bytes of {what}", f"{result[f'{what}_bytes']:,}") for what in KEPT),
        ("SHA-256 of the state", result["state_sha256"][:16]),
    ]  # fmt: skip


def write_report(run: Run, result: dict[str, Any], path: Path) -> None:
    """Write the page.

    Raises:
        DfedgeError: matplotlib is not installed.
    """
    cells = "".join(
        f"<tr><td>{words(what)}</td><td>{words(value)}</td></tr>" for what, value in rows(result)
    )
    page = PAGE.format(
        start=start(f"dfedge continual: {result['stream']}", 52),
        **{name: words(str(result[name])) for name in ("stream", "strategy", "data", "runtime")},
        samples=result["samples"],
        steps=result["steps"],
        rows=cells,
        matrix=svg(_matrix(result)),
        curves=svg(_curves(run)),
        memory=svg(_memory(result)),
    )
    write_out(path, page.encode())


def _matrix(result: dict[str, Any]) -> Any:
    r, names = 100 * np.array(result["accuracy_matrix"]), [*map(visible, result["experiences"])]
    picture = figure(1.6 + 0.7 * len(names), 1.2 + 0.4 * len(r))
    axes = picture.subplots()
    axes.imshow(r, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    for (i, j), value in np.ndenumerate(r):
        color = "black" if value > 60 else "white"
        axes.text(j, i, f"{value:.0f}", ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=9)
    axes.set_yticks(range(len(r)), ["before", *names[: len(r) - 1]], fontsize=9)
    return picture


def _curves(run: Run) -> Any:
    """Test-then-train accuracy, and probes of every experience."""
    picture = figure(8, 5.5)
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
    bottom.legend(frameon=False, fontsize=8, ncols=2)
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
        ends = np.cumsum([len(e.train) * run.settings.passes for e in run.stream.experiences])
        for end in ends[:-1]:
            axes.axvline(end, color="#ddd", linewidth=0.8, zorder=0)
    return picture


def _memory(result: dict[str, Any]) -> Any:
    picture = figure(7, 1.6)
    axes = picture.subplots()
    sizes = [result[f"{name}_bytes"] / 1024 for name in KEPT]
    bars = axes.barh(KEPT[::-1], sizes[::-1], color="#4c72b0")
    axes.bar_label(bars, fmt="%.1f KiB", padding=4, fontsize=9)
    axes.set_xlim(0, 1.2 * max(sizes))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("KiB")
    return picture
