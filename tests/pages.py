"""The pages that people read: README and docs."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md",
         *sorted((ROOT / "docs").rglob("*.md")), ROOT / "targets" / "README.md"]  # fmt: skip
DOCUMENTED = "\n".join(page.read_text() for page in PAGES)
FENCE = re.compile(r"^```\w*\n(.*?)^```", re.S | re.M)
INLINE = re.compile(r"`(dfedge [^`]*)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PLACEHOLDER = re.compile(r"[…]|\b(RUN|MODEL|TABLE|N)\b|\bENV/|\.\.\.")
"""What stands for something else: such a line shows a form, and is not a command."""


def commands(page: Path) -> Iterator[tuple[list[str], bool]]:
    """The words of every command line of a page that calls dfedge, without the program's name; and
    whether it is whole: within a sentence only a part may be named.
    """
    text = page.read_text()
    blocks = (block.replace("\\\n", " ") for block in FENCE.findall(text))
    lines = [(line, True) for block in blocks for line in block.split("\n")]
    lines += [(found.replace("\n", " "), False) for found in INLINE.findall(text)]
    for line, whole in lines:
        line = line.split("|")[-1].strip() if "dfedge live" in line else line.strip()
        if line.startswith("dfedge ") and not PLACEHOLDER.search(line):
            yield shlex.split(line, comments=True)[1:], whole


def links(page: Path) -> Iterator[str]:
    """Every link of a page that leads into the repository."""
    for link in LINK.findall(page.read_text()):
        if not re.match(r"[a-z]+:", link):
            yield link


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as a link to them ends."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", one).strip().lower().replace(" ", "-") for one in headings}
