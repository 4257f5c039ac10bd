"""README and docs: what they link to is there, and what they tell people to type exists."""

from pathlib import Path
from typing import Any

import pytest
import typer
from pages import PAGES, ROOT, anchors, commands, links

from dfedge.cli.app import CLICK_ERROR, app

MOST_LINES = 220
"""Of README: what is longer belongs into docs."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_something(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one_that_dfedge_takes(page: Path) -> None:
    for words, whole in commands(page):
        why = taken(typer.main.get_command(app), words)
        assert why is None or (not whole and why.startswith("Missing")), (words, why)


def test_a_command_that_dfedge_does_not_take_is_found() -> None:
    command = typer.main.get_command(app)
    for line in ("no-such", "train --no-such", "predict", "export x --batch y", "fleet no-such"):
        assert taken(command, line.split()) is not None


def test_every_page_of_docs_is_linked_from_the_readme() -> None:
    linked = set(links(ROOT / "README.md"))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().split("\n")) <= MOST_LINES


def taken(command: Any, words: list[str]) -> str | None:
    """Why a command line is refused while it is read; None: it is not."""
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
