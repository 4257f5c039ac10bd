"""README and docs: what they link to is there, and what they tell people to type exists."""

import importlib
import importlib.util
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import vocabulary
import yaml
from pages import PAGES, ROOT, anchors, commands, links, taken

import dfedge
from dfedge.cli import console
from dfedge.cli.app import app
from dfedge.page import TERMS

SITE, DOCS, EXPERIMENTS = ROOT / "mkdocs.yml", ROOT / "docs", ROOT / "examples" / "experiments"
MKDOCS = importlib.util.find_spec("mkdocs") is not None
MOST_LINES = 155
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
    for line in commands(page):
        if line.words is not None:
            why = taken(line.words)
            assert why is None or (not line.whole and why.startswith("Missing")), (line, why)


def test_a_command_that_dfedge_does_not_take_is_found() -> None:
    for line in ("no-such", "train --no-such", "predict", "export x --batch y", "fleet no-such"):
        assert taken(line.split()) is not None


def test_every_page_of_docs_is_in_the_navigation_of_the_site() -> None:
    shown = [ROOT / "docs" / page for page in navigation(yaml.safe_load(SITE.read_text())["nav"])]
    elsewhere = runpy.run_path(str(ROOT / "docs/hooks/pages.py"))["ELSEWHERE"] if MKDOCS else {}
    pages = {*(ROOT / "docs").rglob("*.md")}
    assert len(shown) == len(set(shown))
    assert pages <= set(shown)
    if MKDOCS:
        assert {*shown} == pages | {ROOT / "docs" / page for page in elsewhere.values()}


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        paths = ((page.parent / link.partition("#")[0]).resolve() for link in links(page))
        ahead += [path for path in paths if path.suffix == ".md" and path not in reached]
    assert {*(ROOT / "docs").rglob("*.md")} <= reached


def test_a_version_is_one_everywhere() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert str(cited) == dfedge.__version__
    newest = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest and newest[1].removeprefix("Unreleased: ") == dfedge.__version__


def test_the_format_numbers_of_the_page_are_those_of_the_code() -> None:
    told = re.findall(
        r"`(dfedge\.[\w.]+)\.([A-Z_]+)` \| (\d+) \|", (DOCS / "formats.md").read_text()
    )
    assert len(told) == 8
    for module, name, number in told:
        assert getattr(importlib.import_module(module), name) == int(number), (module, name)


def test_the_glossary_of_the_docs_is_that_of_the_reports() -> None:
    rows = [f"| {term} | {meaning} |" for term, meaning in TERMS.items()]
    assert (DOCS / "concepts.md").read_text().endswith("\n".join(["|---|---|", *rows, ""]))
    assert sorted(TERMS, key=str.lower) == list(TERMS)


def test_the_index_of_experiments_is_complete() -> None:
    index = runpy.run_path(str(EXPERIMENTS / "index.py"))
    page = (EXPERIMENTS / "README.md").read_text()
    assert page == index["page"](), "python examples/experiments/index.py writes it anew"
    for kept in (EXPERIMENTS / "results").iterdir():
        assert f"](results/{kept.name})" in page or f"`results/{kept.name}/`" in page, kept
    for script in EXPERIMENTS.glob("*.py"):
        assert f"]({script.name})" in page or script.name == "index.py", script


@pytest.mark.slow
@pytest.mark.skipif(not MKDOCS, reason="the extra docs is not installed: make docs")
def test_the_site_builds_without_a_warning_and_needs_no_network(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "finetune out/bundle --data digits" in (tmp_path / "commands.html").read_text()
    assert "Session" in (tmp_path / "api.html").read_text()
    for page in tmp_path.rglob("*.html"):
        fetched = re.findall(
            r'(?:<script|<img|<link rel="(?:stylesheet|icon)")[^>]+https?://', page.read_text()
        )
        assert not fetched, (page, fetched)


def test_what_fit_prints_in_the_readme_is_what_it_prints(
    run_folder: Path, dfedge, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "README.md").read_text()
    (command,) = re.findall(r"`dfedge fit out/demo/run (.*?)`", text)
    monkeypatch.setattr(console.out, "width", 80)
    told = [line.rstrip() for line in dfedge("fit", run_folder, *command.split()).out.split("\n")]
    begins = told.index(next(line for line in told if "for arena and state" in line))
    shown = "\n".join(told[begins : told.index("", begins)])
    assert f"```text\n{shown}\n```" in text


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().split("\n")) <= MOST_LINES


def test_the_comparison_of_the_readme_is_that_of_the_docs() -> None:
    """Its rows, without the links and the column of layers."""
    full = {
        re.sub(r"\[(.*)\]\(.*\)", r"\1", name): [learns, arithmetic, runs]
        for name, learns, arithmetic, _, runs in rows((DOCS / "comparison.md").read_text())
    }
    part = (ROOT / "README.md").read_text().split("## Compared with others\n")[1].split("\n## ")[0]
    shown = list(rows(part))
    assert len(shown) == 8
    for name, *cells in shown:
        assert full[name] == cells


def rows(text: str) -> Iterator[list[str]]:
    """The rows of a page's tables, but for the line under the head."""
    for line in text.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.split("|")[1:-1]]


def every(group: Any) -> Iterator[Any]:
    """Every command, those of groups too."""
    for command in group.commands.values():
        yield from every(command) if hasattr(command, "commands") else [command]


def navigation(entries: list[Any]) -> Iterator[str]:
    """The pages of a navigation, in order."""
    for entry in entries:
        for what in entry.values():
            yield from [what] if isinstance(what, str) else navigation(what)


def test_no_text_uses_a_phrase_that_is_ours_alone() -> None:
    assert list(vocabulary.found()) == []


def test_every_such_phrase_is_found_in_a_text() -> None:
    source = (
        'raise ValueError(f"{x}: its field makes no sense")\n"""nobody sees what was known"""\n'
    )
    assert [text for _, text in vocabulary.texts(source, False)] == ["{}: its field makes no sense"]
    assert len(list(vocabulary.texts(source, True))) == 2
    said = (
        "its field makes no sense", "the integer step does not know x", "it runs where it can",
        "2 lines passed over", "a and b say the same", "whose its samples are", "Of the new class.",
        "what was known", "let it go", "it was taken back", "went on after 3", "x; wanted: y",
        "its checksum does not fit", "it is no bundle", "Fewer cells fit.", "has no place in it",
    )  # fmt: skip
    found = [next(vocabulary.flagged(text)) for text in said]
    assert len({phrase["pattern"] for phrase in found}) == len(vocabulary.PHRASES) == len(said)
    assert not list(
        vocabulary.flagged("one pass over the data; there is no such file; it is no longer")
    )


def test_every_option_has_a_help_text_that_is_a_sentence() -> None:
    for command in every(typer.main.get_command(app)):
        for one in command.params:
            assert one.help and one.help[-1] in ".)", (command.name, one.name, one.help)
            assert not one.help.startswith("Of "), (command.name, one.name)
