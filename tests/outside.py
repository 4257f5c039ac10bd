"""A package that dfedge does not know, installed for the processes that tests start."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
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


DRIVER = """
import json, os, sys, tempfile
from dfedge.cli.app import main

told = os.dup(1)
for words in json.loads(sys.argv[1]):
    files = [tempfile.TemporaryFile() for _ in range(2)]
    for place, file in enumerate(files, 1):
        os.dup2(file.fileno(), place)
    sys.argv = ["dfedge", *words]
    try:
        main()
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    for file in files:
        file.seek(0)
    texts = [file.read().decode() for file in files]
    os.write(told, json.dumps([code, *texts]).encode() + b"\\n")
"""


def together(
    env: dict[str, str], *commands: Sequence[object]
) -> list[subprocess.CompletedProcess[str]]:
    """Commands one after the other in one process: what each would have been alone, for less."""
    words = [[*map(str, command)] for command in commands]
    call = [sys.executable, "-c", DRIVER, json.dumps(words)]
    done = subprocess.run(call, capture_output=True, text=True, env=env, check=True)
    told = map(json.loads, done.stdout.splitlines())
    return [subprocess.CompletedProcess(of, *one) for of, one in zip(words, told, strict=True)]
