"""The pages that people read: README and docs, their links, and the command lines in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from dfedge.cli.app import CLICK_ERROR, app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md",
         *sorted((ROOT / "docs").rglob("*.md")), ROOT / "targets" / "README.md"]  # fmt: skip
DOCUMENTED = "\n".join(page.read_text() for page in PAGES)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PLACEHOLDER = re.compile(r"[…]|\b(RUN|MODEL|TABLE|N|NAME|FILE|KIND)\b|\bENV/|\.\.\.")
"""What stands for something else: such a line shows a form, and is not a command."""
MARK = re.compile(r"<!-- not run: (.*?) -->")
"""Alone on the line above a block, a paragraph or a table: of all its commands."""
INLINE = re.compile(rf"`([^`]*\bdfedge [^`]*)`(?: ?{MARK.pattern})?")
"""Within text a mark is of the command before it."""


@dataclass(frozen=True)
class Line:
    """A command line of a page.

    Attributes:
        text: without a comment.
        whole: it is a line of its own; within a sentence only a part may be named.
        reason: why no test runs it; None: one does.
    """

    text: str
    whole: bool
    reason: str | None

    @property
    def mention(self) -> bool:
        """It names a command within a sentence, without what that needs: nothing to be typed."""
        return not self.whole and self.words is not None and taken(self.words) is not None

    @property
    def words(self) -> list[str] | None:
        """What is given to dfedge; None: the line calls another program."""
        words = shlex.split(self.text.rpartition(" | ")[2])
        while words and "=" in words[0]:  # a variable that is set for it
            words = words[1:]
        return words[1:] if words[:1] == ["dfedge"] else None


def commands(page: Path) -> Iterator[Line]:
    """Every line of a page's blocks of commands, and in its text every one that calls dfedge."""
    for reason, language, lines in _blocks(page.read_text()):
        if language is None:
            table = any(line.startswith("|") for line in lines)
            for text in lines if table else [" ".join(lines)]:
                for found in INLINE.finditer(text):
                    line = found[1].replace("\\|", "|")
                    if not PLACEHOLDER.search(line):
                        yield Line(line, False, reason or found[2])
        elif not language:
            for text in "\n".join(lines).replace("\\\n", " ").split("\n"):
                line = re.split(r"(?:^|\s)#\s", text)[0].strip()
                if line and not PLACEHOLDER.search(line):
                    yield Line(line, True, reason)


def _blocks(text: str) -> Iterator[tuple[str | None, str | None, list[str]]]:
    """The paragraphs, tables and fenced blocks of a page: the reason right above; a block's
    language, None: no block; its lines.
    """
    reason, language, lines = None, None, list[str]()
    for line in [*text.split("\n"), ""]:
        fence = line.startswith("```")
        mark = MARK.fullmatch(line.strip()) if language is None else None
        if lines and (fence or mark or (language is None and not line.strip())):
            yield reason, language, lines
            reason, lines = None, []
        if fence:
            language = line[3:].strip() if language is None else None
        elif mark:
            reason = mark[1]
        elif language is not None or line.strip():
            lines.append(line)


def links(page: Path) -> Iterator[str]:
    """Every link of a page that leads into the repository."""
    for link in LINK.findall(page.read_text()):
        if not re.match(r"[a-z]+:", link):
            yield link


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as a link to them ends."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", one).strip().lower().replace(" ", "-") for one in headings}


def taken(words: list[str]) -> str | None:
    """Why a command line is refused while it is read; None: it is not."""
    command = _command()
    try:
        context = command.make_context("dfedge", list(words))
        while hasattr(context.command, "commands") and context._protected_args:
            name, sub, rest = context.command.resolve_command(
                context, [*context._protected_args, *context.args]
            )
            context = sub.make_context(name, rest, parent=context)
    except CLICK_ERROR as error:
        return str(error.format_message())
    except (SystemExit, typer.Exit):  # --version
        return None
    return None


@cache
def _command() -> Any:
    return typer.main.get_command(app)
