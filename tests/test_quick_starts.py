"""README's quick starts, word for word: a real shell runs them over small real pictures.

DFEDGE_BIN names a folder with another dfedge, as that of a wheel's own environment (`make wheel`).
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import foreign_nets
import pytest
import torch
from desk import photo_folders
from pages import ROOT

from dfedge.quiet import quiet

README = (ROOT / "README.md").read_text()
PART = README.split("## Quick starts\n")[1].split("\n## ")[0]
QUICK_STARTS = re.findall(r"^\*\*([^*]+)\*\*.*?^```(\w*)\n(.*?)^```", PART, re.S | re.M)
BLOCKS = {title.strip(" :"): text for title, _, text in QUICK_STARTS}
MOST_COMMANDS = 6
BIN = "DFEDGE_BIN"
TOOLS = ("cmake", "arm-none-eabi-gcc", "qemu-system-arm")


def lines(title: str) -> list[str]:
    """The commands of a quick start."""
    return [line for line in BLOCKS[title].splitlines() if line.strip()]


def test_there_are_three_and_one_in_python_none_longer_than_six_commands() -> None:
    assert [(title.strip(" :"), language) for title, language, _ in QUICK_STARTS] == [
        ("My photos or sensor files", ""), ("My trained model", ""), ("My microcontroller", ""),
        ("In Python", "python"),
    ]  # fmt: skip
    for title, language, _ in QUICK_STARTS:
        assert language or 2 <= len(lines(title)) <= MOST_COMMANDS


@pytest.mark.parametrize(
    ("title", "page"),
    [("My photos or sensor files", "photos"), ("My trained model", "model"),
     ("My microcontroller", "microcontroller")],
)  # fmt: skip
def test_a_tutorial_has_the_commands_of_its_quick_start(title: str, page: str) -> None:
    told = (ROOT / "docs" / "tutorials" / f"{page}.md").read_text().splitlines()
    assert {command(line) for line in lines(title)} <= {command(line) for line in told}


def command(line: str) -> str:
    """Without its comment."""
    return line.partition("  #")[0].strip()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the quick starts name: photos, new ones, mugs, a model."""
    folder = tmp_path_factory.mktemp("desk")
    photo_folders(folder, ".jpg")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.fixture(scope="module")
def shell(desk: Path):
    """A command line in that folder, with a dfedge on its PATH: what it printed."""
    environment = dict(os.environ)
    if BIN in os.environ:
        first = Path(os.environ[BIN]).resolve()
        environment.pop("PYTHONPATH", None)
    else:
        first = desk / "bin"
        first.mkdir()
        program = first / "dfedge"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dfedge "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        environment["PYTHONPATH"] = str(ROOT)
    environment["PATH"] = f"{first}{os.pathsep}{environment['PATH']}"

    def call(line: str) -> str:
        done = subprocess.run(
            ["sh", "-c", line], cwd=desk, env=environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}"
        return done.stdout

    return call


@pytest.fixture(scope="module")
def photos(desk: Path, shell) -> list[str]:
    """What each command of the first quick start printed."""
    return [shell(line) for line in lines("My photos or sensor files")]


def test_photos(desk: Path, photos: list[str]) -> None:
    printed = "\n".join(photos)
    assert "mug" in photos[-1], printed
    assert (desk / "out" / "bundle" / "manifest.json").is_file()
    assert (desk / "out" / "bundle.state").is_dir()


def test_python(desk: Path, photos: list[str], shell) -> None:
    assert photos
    script = desk / "snippet.py"
    script.write_text(
        "import numpy as np\nfrom PIL import Image\n"
        'image = np.array(Image.open("photo.png"))\n'
        f"{BLOCKS['In Python']}"
        "print(answer.name, answer.score, answer.margin, answer.confidence, answer.unsure)\n"
    )
    *_, told = shell(f'"{python()}" snippet.py').splitlines()
    name, score, *_ = told.split()
    assert name in {*map(str, range(10)), "mug"}
    assert score.lstrip("-").isdigit()


def python() -> str:
    """The interpreter whose dfedge is tried."""
    return str(Path(os.environ[BIN]).resolve() / "python") if BIN in os.environ else sys.executable


def test_model(desk: Path, shell) -> None:
    net = foreign_nets.fit(foreign_nets.Residual())
    with quiet():
        torch.onnx.export(net, (torch.zeros(3, 1, 8, 8),), desk / "model.onnx", dynamo=False)
    for line in lines("My trained model"):
        shell(line)
    manifest = (desk / "out" / "adopted-bundle" / "manifest.json").read_text()
    assert "litert" in manifest
    assert (desk / "out" / "adopted-bundle.state").is_dir()


@pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason="no cross compiler or emulator: make tools"
)
def test_microcontroller(shell) -> None:
    *_, answers = [shell(line) for line in lines("My microcontroller")]
    assert len(answers.strip().splitlines()) == 4, answers
