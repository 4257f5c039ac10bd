"""report.html: one self-contained file; its plots are SVG inside it."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dfedge.atomic import write_file
from dfedge.demo.route import Demo, ShownImage
from dfedge.page import WIDE, glossary, legend, start, svg, table, verdict, words
from dfedge.profile.chart import memory_figure
from dfedge.units import percent, size

HEAD = ["what", "found"]
WINDOW = 8
"""Steps over which the learning curve is averaged."""

PAGE = """{start}
<h1>Learning continues after export</h1>
{verdict}
<p>A net trained on upright digits, exported in int8, met the same digits turned ({shift}). It
learned them inside the exported program: {samples:,} presentations of {images} images that it had
never seen, in {steps} steps, without stored activations and without torch.</p>
<h2>While it learned</h2>{curve}
<h2>Twelve turned test images, before and after</h2>{gallery}
<h2>Planned memory</h2>{memory}
<p class="note">{note}</p>
<h2>All figures</h2>{table}
{terms}
</html>
"""


def rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """The findings as (what, value), for the terminal and the page."""
    accuracy, shifted, memory = summary["accuracy"], summary["shifted"], summary["memory"]
    changed = ", ".join(f"{100 * v:.0f} %" for v in summary["weights_changed"].values())
    return [
        ("test accuracy, float", percent(accuracy["float"])),
        ("test accuracy, fake-quantised", percent(accuracy["qat"])),
        ("test accuracy, int8 program", percent(accuracy["int8"])),
        ("int8 scores equal the fake-quantised net's", _yes(summary["int8_scores_equal_qat"])),
        (f"turned ({shifted['kind']}), before learning", percent(shifted["before"])),
        ("turned, only anchors set to class means", percent(shifted["anchors_only"])),
        *(
            (f"turned, after {shifted['samples']:,} presentations, {name}", percent(value))
            for name, value in shifted["after"].items()
        ),
        ("upright, after learning the turned ones", percent(shifted["upright_after"])),
        (
            f"same state bytes in all runtimes after each of {summary['steps']} steps",
            _yes(summary["state_identical"]),
        ),
        ("int8 weights changed, per layer", changed),
        *(
            (
                f"planned {kind} memory, {memory['format']}, batch {memory['batch']}",
                f"{size(memory[kind]['arena_bytes'])} + state {size(memory[kind]['state_bytes'])}",
            )
            for kind in ("train", "infer")
        ),
        *(
            (f"measured beyond imports, {name} {method}", size(value))
            for name, methods in summary["measured"].items()
            for method, value in methods.items()
        ),
        ("seconds", str(summary["seconds"])),
    ]


def figures(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """The three that the sentence needs beside it: where it began, its baseline, and its price."""
    accuracy, shifted = summary["accuracy"], summary["shifted"]
    return [
        ("upright, before learning the turned ones", percent(accuracy["int8"])),
        ("upright, afterwards", percent(shifted["upright_after"])),
        ("turned, if only the anchors are set to class means", percent(shifted["anchors_only"])),
    ]


def sentence(summary: dict[str, Any]) -> str:
    """What the demo shows, in one sentence."""
    shifted, runtimes = summary["shifted"], summary["shifted"]["after"]
    same = "with the same bytes" if summary["state_identical"] else "but NOT with the same bytes"
    return (
        f"On turned digits, accuracy rose from {percent(shifted['before'])} to "
        f"{percent(min(runtimes.values()))} by learning in {', '.join(runtimes)}, {same} after "
        "every step."
    )


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


def write_report(demo: Demo, path: Path) -> None:
    """Write the page."""
    shifted = demo.summary["shifted"]
    sources = "; ".join(
        f"{name}: {record.memory_source}" for name, record in demo.bundle.manifest.formats.items()
    )
    page = PAGE.format(
        start=start("dfedge demo", 46),
        shift=words(shifted["kind"]),
        samples=shifted["samples"],
        images=shifted["images"],
        steps=demo.summary["steps"],
        verdict=verdict(words(sentence(demo.summary))),
        table=table([], [list(row) for row in rows(demo.summary)]),
        terms=glossary("arena", "state", "anchor", "presentation", "fake quantisation"),
        curve=svg(_curve(demo)),
        gallery=svg(gallery_figure(demo.gallery)),
        memory=svg(memory_figure(demo.bundle.manifest)),
        note=words(f"Plans by {sources}."),
    )
    write_file(path, page.encode())


def _curve(demo: Demo) -> Figure:
    """Accuracy just before each batch was learned, and how many samples moved each layer."""
    shifted = demo.summary["shifted"]
    done = [step.done for step in demo.steps]
    kernel = np.ones(WINDOW) / WINDOW
    figure = Figure(figsize=(WIDE, 4.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    right = np.array([step.right / step.size for step in demo.steps])
    top.plot(done[WINDOW - 1 :], 100 * np.convolve(right, kernel, "valid"), color="#4c72b0")
    top.axhline(100 * shifted["anchors_only"], color="#888", linestyle="--", linewidth=1,
                label="test, anchors only")  # fmt: skip
    top.plot(done[-1], 100 * shifted["after"]["onnx"], "o", color="#c44e52", label="test, after")
    top.set_ylabel(f"recognised before learning, %\n(mean of {WINDOW} steps)")
    legend(top)
    for layer in range(len(demo.steps[0].active)):
        active = np.array([step.active[layer] / step.size for step in demo.steps])
        smooth = 100 * np.convolve(active, kernel, "valid")
        bottom.plot(done[WINDOW - 1 :], smooth, label=f"layer{layer}")
    bottom.set_ylabel("samples that\nmoved the layer, %")
    bottom.set_xlabel("presentations")
    legend(bottom, 4)
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def gallery_figure(gallery: list[ShownImage]) -> Figure:
    """Pictures with the answers before and after, in two rows."""
    figure = Figure(figsize=(WIDE, 2.6), layout="constrained")
    for axes, shown in zip(figure.subplots(2, len(gallery) // 2).flat, gallery, strict=True):
        axes.imshow(shown.image.squeeze(), cmap="gray")
        good = shown.after == shown.label
        axes.set_title(f"{shown.before} → {shown.after}", color="#2a9f4f" if good else "#d45e62")
        axes.set_axis_off()
    return figure
