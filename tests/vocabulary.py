"""Phrases that our texts do not use (`vocabulary.toml`): where they still stand.

python tests/vocabulary.py      # part of `make lint`
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pages import PAGES, ROOT

PHRASES = tomllib.loads((Path(__file__).parent / "vocabulary.toml").read_text())["phrase"]
COMMANDS = ROOT / "dfedge" / "cli"


def found() -> Iterator[str]:
    """``file:line: phrase; write: ...`` for every phrase."""
    for page in PAGES:
        if page.name == "style.md":  # it shows what not to write
            continue
        for number, line in enumerate(page.read_text().split("\n"), 1):
            yield from _in(line, f"{page.relative_to(ROOT)}:{number}", on_page=True)
    for path in sorted((ROOT / "dfedge").rglob("*.py")):
        for number, text in texts(path.read_text(), path.parent == COMMANDS):
            yield from _in(text, f"{path.relative_to(ROOT)}:{number}")


def flagged(text: str) -> Iterator[dict[str, str]]:
    """The phrases that a text uses."""
    flat = " ".join(text.split())
    return (phrase for phrase in PHRASES if re.search(phrase["pattern"], flat))


def texts(source: str, command: bool) -> Iterator[tuple[int, str]]:
    """Strings of a source file that a person may meet, with their lines.

    Args:
        command: its docstrings are help texts, and count.
    """
    tree = ast.parse(source)
    silent = set() if command else {id(node) for node in _docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [one.value if isinstance(one, ast.Constant) else "{}" for one in node.values]
            silent.update(map(id, node.values))  # which are seen after their string
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in silent:
            yield node.lineno, str(node.value)


def _docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def _in(text: str, where: str, *, on_page: bool = False) -> Iterator[str]:
    for phrase in flagged(text):
        if not (on_page and phrase.get("texts_only")):
            yield f"{where}: '{phrase['pattern']}'; write: {phrase['instead']}"


if __name__ == "__main__":
    left = list(found())
    print("\n".join(left) or "no phrase of tests/vocabulary.toml is used")
    sys.exit(bool(left))
