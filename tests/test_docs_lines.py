"""Every command line of README and docs is run, page by page, in a folder of small data and nets.

A line that cannot run here is marked in its page, with the reason: ``<!-- not run: REASON -->``.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import desk
import pytest
import test_quick_starts as quick_starts
from conftest import once
from pages import PAGES, ROOT, Line, commands

from dfedge.cli.app import main

QUICK_STARTS = {
    quick_starts.command(line) for text in quick_starts.BLOCKS.values() for line in text.split("\n")
}
"""A test of their own runs these word for word, over nets of their full size."""
SHORT = {
    "train": ("--epochs", "1", "--qat-epochs", "1"),
    "fit model.onnx --adopt": ("--samples", "64", "--learn", "head", "--learn", "last:1"),
}
"""What is added to commands that begin so, so that they take a second."""
SMALL_NET = ("--net", "two.toml")
"""Added to a training on images that names no net."""
SIGNALS = {"--window", "--label", "--net"}
WRITERS = ("train", "adopt", "export")
"""What they write lies in the folder already, made another way: it is taken away first."""
INBOXES = {"inbox", "inbox2"}
"""Folders into which another device sends what it learned, where the page's own did not."""
TELL = ("dfedge continual", "dfedge profile", "dfedge fleet simulate")
"""Commands that no other needs: the first page that has such a line runs it for all."""
BY_CI = ("make ", "pip ")
SHELL = ("rm", "mv")
"""Other programs that lines call here."""
REASONS = ("make demo", "tests/", "it needs a SuperLink", "its data lie in a package",
           "minutes to days", "hours of training", "a serial port", "it writes into the files",
           "make lint")  # fmt: skip


def call(words: list[str]) -> int:
    """A command in this process: its exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(sys, "argv", ["dfedge", *words])
        main()
    return int(stopped.value.code or 0)


@contextmanager
def at(folder: Path) -> Iterator[None]:
    """In that folder, with its data sets and its modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.setenv("DFEDGE_DATA", str(folder / "data"))
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        def dfedge(line: str) -> None:
            with at(folder):
                assert call(line.split()) == 0, line

        desk.make(folder, dfedge)

    return once(tmp_path_factory, "desk", make)


@cache
def to_run(page: Path) -> list[Line]:
    """The lines of a page that are run here."""
    told = {line.text for one in PAGES[: PAGES.index(page)] for line in to_run(one)}
    return [line for line in commands(page)
            if line.reason is None and line.text not in QUICK_STARTS and not line.mention
            and not line.text.startswith(BY_CI)
            and not (line.text in told and line.text.startswith(TELL))]  # fmt: skip


def run(line: Line) -> int:
    """Run it here, shortened; its exit code. Standard input is a recording."""
    if line.words is None:
        assert line.text.split()[0] in SHELL, line.text
        return subprocess.run(["sh", "-ec", line.text], check=False).returncode
    command, *given = line.words
    out = given[given.index("--out") + 1] if "--out" in given else None
    if command in WRITERS and out:
        shutil.rmtree(out, ignore_errors=True)
    small = SMALL_NET if command == "train" and not SIGNALS & {*given} else ()
    for inbox in INBOXES & {*given}:
        if not Path(inbox).exists():
            another = "--state", f"another-{inbox}"
            assert call(["fleet", "learn", "out/bundle", "--data", "photos", *another]) == 0
            delta = f"{inbox}/another.delta"
            assert call(["fleet", "delta", "out/bundle", *another, "--out", delta]) == 0
    short = [word for begins, more in SHORT.items() if " ".join(line.words).startswith(begins)
             for word in more]  # fmt: skip
    before = os.dup(0)
    try:
        with Path("sensor.csv").open() as recording:
            os.dup2(recording.fileno(), 0)
        code = call([command, *given, *small, *short])
    finally:
        os.dup2(before, 0)
        os.close(before)
    assert out is None or code or Path(out).exists(), line.text
    return code


@pytest.mark.parametrize(
    "page", [page for page in PAGES if to_run(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_command_of_a_page_runs(
    page: Path, made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "desk"
    shutil.copytree(made, here)
    with at(here):
        for line in to_run(page):
            code = run(line)
            told = capfd.readouterr()
            assert code == 0, f"{line.text}\n{told.out}{told.err}"


def test_a_line_that_is_not_run_says_why() -> None:
    """A reason is of a known kind, and a file that it names is there."""
    marked = [(page, line) for page in PAGES for line in commands(page) if line.reason]
    assert marked
    for page, line in marked:
        assert line.reason and line.reason.startswith(REASONS), (page, line)
        for word in line.reason.split():
            assert not word.startswith("tests/") or (ROOT / word.strip(",;")).is_file(), line
