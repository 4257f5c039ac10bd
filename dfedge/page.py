"""What the reports have in common: one self-contained HTML file, its plots SVG inside it."""

import io
from typing import Any

START = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: {width}rem; margin: 2rem auto;
padding: 0 1rem }}
table {{ border-collapse: collapse }} td, th {{ padding: .2rem .8rem; border-bottom: 1px solid #ddd;
text-align: left }} {right} {{ text-align: right }} svg {{ max-width: 100%; height: auto }}
</style>"""


def start(title: str, width: int, right: str = "td + td") -> str:
    """The page up to its first heading.

    Args:
        title: as HTML.
        width: at most, in rem.
        right: the cells of tables that hold numbers, as a CSS selector.
    """
    return START.format(title=title, width=width, right=right)


def svg(figure: Any) -> str:
    """A matplotlib figure as an element of a page."""
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]
