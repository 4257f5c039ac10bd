"""What the demo on photos prints, and its page."""

from pathlib import Path
from typing import Any

from dfedge.atomic import write_file
from dfedge.demo.photos import PhotosDemo
from dfedge.demo.report import gallery_figure
from dfedge.page import glossary, start, svg, table, verdict, words
from dfedge.units import percent, size

PAGE = """{start}
<h1>A trained net keeps learning</h1>
{verdict}
<p>An ordinary convolutional net was trained by back-propagation, saved as ONNX and adopted in int8.
All that follows happened inside the exported program, in integers, without a backward pass.</p>
<h2>Turned photos ({shift}), before and after</h2>{gallery}
<h2>All figures</h2>{table}
{terms}
</html>
"""


def sentence(summary: dict[str, Any]) -> str:
    """What the demo shows, in one sentence."""
    added, turned = summary["new_class"], summary["turned"]
    return (
        f"On the device, a net trained by back-propagation was taught the class '{added['name']}' from "
        f"{added['samples']} photos: {percent(added['recognised'])} recognised; and photos turned by "
        f"{turned['kind'].partition(':')[2]} degrees: {percent(turned['before'])} before, "
        f"{percent(turned['after'])} after."
    )


def figures(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Three beside the sentence: what adopting costs, and what learning costs the rest."""
    adopted, added, turned = summary["adopted"], summary["new_class"], summary["turned"]
    return [
        ("adopted", f"{percent(adopted['float'])} in float, {percent(adopted['int8'])} in int8"),
        ("the other classes", _change(added["others_before"], added["others_after"])),
        ("upright photos", _change(turned["upright_before"], turned["upright_after"])),
    ]


def rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """All findings as (what, value)."""
    photos, turned, memory = summary["photos"], summary["turned"], summary["memory"]
    return [
        ("photos", summary["data"]),
        ("classes", str(len(summary["classes"]))),
        ("trained by back-propagation on", f"{photos['trained']:,}"),
        ("met on the device", f"{photos['met']:,}"),
        ("judged by", f"{photos['tested']:,}"),
        *figures(summary),
        (f"class '{summary['new_class']['name']}'", percent(summary["new_class"]["recognised"])),
        (
            f"turned, {turned['samples']:,} presentations",
            _change(turned["before"], turned["after"]),
        ),
        *(
            (
                f"planned memory to {kind}, arena and state",
                f"{size(memory[kind]['arena_bytes'])} + {size(memory[kind]['state_bytes'])}",
            )
            for kind in ("train", "infer")
        ),
        ("seconds", str(summary["seconds"])),
    ]


def _change(before: float, after: float) -> str:
    return f"{percent(before)} before, {percent(after)} after"


def write_photos_report(demo: PhotosDemo, path: Path) -> None:
    """Write the page."""
    page = PAGE.format(
        start=start("dfedge demo --photos", 46),
        verdict=verdict(words(sentence(demo.summary))),
        shift=words(demo.summary["turned"]["kind"]),
        gallery=svg(gallery_figure(demo.gallery)),
        table=table([], [list(row) for row in rows(demo.summary)]),
        terms=glossary("arena", "state", "presentation"),
    )
    write_file(path, page.encode())
