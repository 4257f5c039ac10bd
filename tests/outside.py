"""A package that dfedge does not know, installed for the processes that tests start."""

import os
import subprocess
import sys
from pathlib import Path


def install(
    folder: Path, code: str, group: str, value: str, name: str = "reference"
) -> dict[str, str]:
    """A package of one file, ``outside.py``, with one entry point; the environment in which it is
    installed.
    """
    (folder / "outside.py").write_text(code)
    info = folder / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "300"}


def dfedge(env: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "dfedge", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=env)
