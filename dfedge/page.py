"""What the reports have in common: one self-contained HTML file, its plots SVG inside it; and
plots that are files of their own.
"""

import html
import io
import tomllib
import warnings
from pathlib import Path
from typing import Any

from dfedge.errors import DfedgeError
from dfedge.visible import visible

START = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #16181d; --paper: #fff; --faint: #5b6270; --line: #d8dbe0;
--good: #1d6f3a }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e8eaed; --paper: #15171c; --faint: #a9b0bc;
--line: #3a3f49; --good: #7bd69a }} }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: {width}rem; margin: 1.5rem auto;
padding: 0 1rem; color: var(--ink); background: var(--paper) }}
h1 {{ font-size: 1.6rem; line-height: 1.25 }} h2 {{ font-size: 1.2rem; margin-top: 2rem }}
.verdict {{ font-size: 1.15rem; border-left: .3rem solid var(--good); padding-left: .8rem }}
.note, figcaption {{ color: var(--faint); font-size: .9rem }}
.scroll {{ overflow-x: auto }} figure {{ margin: 0 0 1rem }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
td, th {{ padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
vertical-align: top }} {right} {{ text-align: right; white-space: nowrap }}
svg {{ display: block; width: 100%; max-width: 40rem; height: auto; fill: currentColor }}
dt {{ font-weight: 600 }} dd {{ margin: 0 0 .5rem 1rem }} summary {{ cursor: pointer }}
</style>"""
WIDE = 4.6
"""Inches of a picture on a page: its letters are read on a telephone, 390 pixels wide."""
TERMS: dict[str, str] = tomllib.loads((Path(__file__).parent / "glossary.toml").read_text())
"""Term -> meaning, in Markdown."""


def words(text: str) -> str:
    """Text as HTML shows it: no markup, and nothing that turns letters round."""
    return html.escape(visible(text))


def start(title: str, width: int, right: str = "td + td, th + th") -> str:
    """The page up to its first heading.

    Args:
        title: as text.
        width: at most, in rem.
        right: the cells of tables that hold numbers, as a CSS selector.
    """
    return START.format(title=words(title), width=width, right=right)


def verdict(sentence: str) -> str:
    """What a page found, as its first paragraph; HTML."""
    return f'<p class="verdict">{sentence}</p>'


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table that scrolls where the page is narrower; cells are text."""
    top = "".join(f"<th>{words(cell)}</th>" for cell in head)
    body = ("".join(f"<td>{words(cell)}</td>" for cell in row) for row in rows)
    made = "".join(f"<tr>{row}</tr>" for row in body)
    return scroll(f"<table>{f'<tr>{top}</tr>' if head else ''}{made}</table>")


def scroll(wide: str) -> str:
    """HTML that scrolls sideways where the page is narrower."""
    return f'<div class="scroll">{wide}</div>'


def glossary(*terms: str) -> str:
    """Terms of a page with their meanings, folded up."""
    rows = "".join(
        f"<dt>{words(term)}</dt><dd>{words(TERMS[term].replace('`', ''))}</dd>" for term in terms
    )
    return f"<details><summary>Terms on this page</summary><dl>{rows}</dl></details>"


def legend(axes: Any, columns: int = 3, title: str | None = None) -> None:
    """Name what is drawn, above the axes, where it covers nothing."""
    axes.legend(frameon=False, fontsize="small", ncols=columns, loc="lower left", title=title,
                alignment="left", bbox_to_anchor=(0, 1), borderaxespad=0.2,
                columnspacing=1, handlelength=1.2)  # fmt: skip


def figure(width: float, height: float) -> Any:
    """An empty matplotlib figure, in inches.

    Raises:
        DfedgeError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DfedgeError("plots need matplotlib; pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def check_plot(path: Path) -> None:
    """Refuse before a long run what `save` would refuse after it.

    Raises:
        DfedgeError: no matplotlib, no such folder, or a kind of file that it does not write.
    """
    kinds = figure(1, 1).canvas.get_supported_filetypes()
    if path.suffix[1:] not in kinds:
        raise DfedgeError(f"{path}: no kind of picture; allowed: .{', .'.join(sorted(kinds))}")
    if path.is_dir() or not path.parent.is_dir():
        raise DfedgeError(f"{path}: cannot be written; name a file in a folder that exists")


def save(picture: Any, path: Path) -> None:
    """Write a figure; the suffix chooses the kind of file.

    Raises:
        DfedgeError: a place that cannot be written.
    """
    try:
        _draw(picture, path, None)
    except (OSError, ValueError) as error:
        raise DfedgeError(f"{path}: cannot be written ({error})") from error


def svg(picture: Any) -> str:
    """A matplotlib figure as an element of a page; what is black has the ink of the page."""
    text = io.StringIO()
    _draw(picture, text, "svg")
    drawn = text.getvalue()[text.getvalue().index("<svg") :].replace("#000000", "currentColor")
    # Labels of an axis are set anew whenever it is drawn, and stand in comments as they are.
    return "\n".join(map(visible, drawn.split("\n")))


def _draw(picture: Any, where: Path | io.StringIO, format: str | None) -> None:
    """Names in a picture are text: no formula between dollars, and nothing invisible."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    def plain() -> None:
        for label in picture.findobj(Text):
            label.set_parse_math(False)
            label.set_text("\n".join(map(visible, label.get_text().split("\n"))))

    # Labels of axes come to be while a figure is drawn: those that are there first, then all.
    with rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font does not have
        plain()
        picture.draw_without_rendering()
        plain()
        picture.savefig(where, format=format, transparent=isinstance(where, io.StringIO))
