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

HEAD = ["", "before", "after"]


def sentence(summary: dict[str, Any]) -> str:
    """What the demo shows, in one sentence."""
    added, turned = summary["new_class"], summary["turned"]
    degrees = turned["kind"].partition(":")[2]
    return (
        "On the device, a net trained by back-propagation was taught the class "
        f"'{added['name']}' from {added['samples']} photos: {percent(added['recognised'])} "
        f"recognised; and photos turned by {degrees} degrees: {percent(turned['before'])} before, "
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


def rows(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """All findings as (what, before, after)."""
    photos, adopted, memory = summary["photos"], summary["adopted"], summary["memory"]
    added, turned = summary["new_class"], summary["turned"]
    return [
        ("adopted: float, int8", percent(adopted["float"]), percent(adopted["int8"])),
        (f"class '{added['name']}'", "", percent(added["recognised"])),
        ("the other classes", percent(added["others_before"]), percent(added["others_after"])),
        (f"turned, {turned['samples']:,} presentations", percent(turned["before"]),
         percent(turned["after"])),
        ("upright photos", percent(turned["upright_before"]), percent(turned["upright_after"])),
        *((f"photos {what}", "", f"{count:,}") for what, count in photos.items()),
        *((f"planned {what}, infer and train", size(memory["infer"][f"{what}_bytes"]),
           size(memory["train"][f"{what}_bytes"])) for what in ("arena", "state")),
        ("seconds", "", str(summary["seconds"])),
    ]  # fmt: skip


def _change(before: float, after: float) -> str:
    return f"{percent(before)} before, {percent(after)} after"


def write_report(demo: PhotosDemo, path: Path) -> None:
    """Write the page."""
    page = PAGE.format(
        start=start("dfedge demo --photos", 46),
        verdict=verdict(words(sentence(demo.summary))),
        shift=words(demo.summary["turned"]["kind"]),
        gallery=svg(gallery_figure(demo.gallery)),
        table=table(HEAD, [list(row) for row in rows(demo.summary)]),
        terms=glossary("arena", "state", "presentation"),
    )
    write_file(path, page.encode())
