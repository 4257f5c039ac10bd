"""Reports on a telephone and in the dark; legends that cover nothing."""

import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

from dfedge.page import TERMS, WIDE, figure, glossary, legend, start, svg, table, verdict
from dfedge.units import size

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
NARROW = 390
FRAME = """<iframe width="{width}" height="900" style="border: 0" srcdoc="{page}"
onload="document.title = this.contentDocument.documentElement.scrollWidth"></iframe>"""
"""A window of any width: a browser's own has 500 pixels at least."""


def report() -> str:
    """A page with everything that reports have, its table wider than a telephone."""
    picture = figure(WIDE, 3)
    axes = picture.subplots()
    for number in range(9):
        axes.plot([0, number], label=f"a line with a long name {number}")
    legend(axes)
    wide = table(["what", *"abcdefghijkl"], [["a long name of a row", *["1,234,567"] * 12]])
    return "".join([
        start("A report", 40), "<h1>A report</h1>", verdict("It fits."), svg(picture), wide,
        glossary("arena", "state"), "</html>",
    ])  # fmt: skip


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [NARROW, 1100])
def test_a_report_is_as_wide_as_the_window(width: int, tmp_path: Path) -> None:
    """Charts shrink, tables scroll: nothing makes the page wider."""
    page = tmp_path / "page.html"
    page.write_text(FRAME.format(width=width, page=escape(report())))
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
               f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r"<title>(\d+)</title>", done.stdout)
    assert found and int(found[1]) <= width


def test_a_report_follows_the_reader_into_the_dark() -> None:
    page = report()
    assert "prefers-color-scheme: dark" in page
    assert "currentColor" in page and "#000000" not in page
    assert page.index('class="verdict"') < page.index("<svg") < page.index("<table")


def test_a_legend_covers_nothing() -> None:
    picture = figure(WIDE, 3)
    for axes in picture.subplots(2, 1):
        for number in range(9):
            axes.plot([0, 1], [number, number], label=f"line {number}")
        legend(axes, 4, "a title")
    picture.draw_without_rendering()
    boxes = [axes.get_legend().get_window_extent() for axes in picture.axes]
    drawn = [axes.get_window_extent() for axes in picture.axes]
    assert not [1 for box in boxes for one in drawn if box.padded(-1).overlaps(one.padded(-1))]
    assert all(box.y1 <= picture.bbox.y1 + 1 for box in boxes)


def test_terms_are_told_where_a_page_uses_them() -> None:
    told = glossary(*TERMS)
    assert told.count("<dt>") == len(TERMS) and "`" not in told
    with pytest.raises(KeyError):
        glossary("no such term")


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 B"), (999, "999 B"), (1000, "0.977 KiB"), (63_297, "61.8 KiB"), (262_144, "256 KiB"),
     (1023 * 1024, "0.999 MiB"), (1_155_379, "1.1 MiB"), (4 << 30, "4 GiB"),
     (5000 << 30, "5,000 GiB")],
)  # fmt: skip
def test_bytes_are_told_in_the_unit_that_fits(count: int, told: str) -> None:
    assert size(count) == told
