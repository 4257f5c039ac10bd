"""What the reports have in common: one self-contained HTML file, its plots SVG inside it; and
plots that are files of their own.
"""

import html
import io
import warnings
from pathlib import Path
from typing import Any

from dfedge.errors import DfedgeError
from dfedge.visible import visible

START = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: {width}rem; margin: 2rem auto;
padding: 0 1rem }}
table {{ border-collapse: collapse }} td, th {{ padding: .2rem .8rem; border-bottom: 1px solid #ddd;
text-align: left }} {right} {{ text-align: right }} svg {{ max-width: 100%; height: auto }}
</style>"""


def words(text: str) -> str:
    """Text as HTML shows it: no markup, and nothing that turns letters round."""
    return html.escape(visible(text))


def start(title: str, width: int, right: str = "td + td") -> str:
    """The page up to its first heading.

    Args:
        title: as text.
        width: at most, in rem.
        right: the cells of tables that hold numbers, as a CSS selector.
    """
    return START.format(title=words(title), width=width, right=right)


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
    """A matplotlib figure as an element of a page."""
    text = io.StringIO()
    _draw(picture, text, "svg")
    drawn = text.getvalue()[text.getvalue().index("<svg") :]
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
        picture.savefig(where, format=format)
