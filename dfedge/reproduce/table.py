"""A table of experiments: jobs by key, their results in one JSON file, and its rendering."""

import json
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dfedge import __version__
from dfedge.atomic import write_file
from dfedge.disk import DISK
from dfedge.errors import DfedgeError, foreign
from dfedge.progress import Progress
from dfedge.regular import read_bytes

Row = dict[str, Any]
"""One job's result: ``status`` (done, short, or not run) and, where it ran, its numbers."""


@dataclass(frozen=True)
class Context:
    """Where and on what a job runs.

    Attributes:
        runs: folder for RUN folders, kept so that an interrupted job resumes.
        data_dir: of downloadable sets.
        device: cpu or cuda.
    """

    runs: Path
    data_dir: Path | None
    device: str
    watch: Progress = lambda *_: None


@dataclass(frozen=True)
class TableCell:
    """One cell or row: ``run`` returns its numbers, or raises DfedgeError where it cannot run."""

    key: str
    run: Callable[[Context], Row]


@dataclass(frozen=True)
class PaperTable:
    """A table by name.

    Attributes:
        render: from the results by key to Markdown.
    """

    name: str
    title: str
    jobs: list[TableCell]
    render: Callable[[dict[str, Row]], str]
    notes: list[str] = field(default_factory=list)


def load_results(path: Path) -> dict[str, Row]:
    """The rows of a result file; none where there is no file.

    Raises:
        DfedgeError: a file that is not one of ours.
    """
    if not path.exists():
        return {}
    with foreign(path, "results", "move it away"):
        rows: dict[str, Row] = json.loads(read_bytes(path))["rows"]
    return rows


def is_wanted(row: Row | None, pending: bool, device: str) -> bool:
    """Whether a job is to run: never done, or with ``pending`` not run, or short and a GPU here."""
    if row is None:
        return True
    return pending and (
        row["status"] == "not run" or (row["status"] == "short" and device != "cpu")
    )


def reproduce(table: PaperTable, path: Path, context: Context, pending: bool) -> dict[str, Row]:
    """Run what is wanted, writing the file after every job; all results."""
    rows = load_results(path)
    DISK.make_folder(path.parent)
    for number, job in enumerate(table.jobs):
        context.watch(f"table {table.name}: {job.key}", number, len(table.jobs))
        if not is_wanted(rows.get(job.key), pending, context.device):
            continue
        start = time.perf_counter()
        try:
            row = job.run(context)
        except DfedgeError as error:
            row = {"status": "not run", "why": str(error).split(":")[0]}
        rows[job.key] = row | {
            "seconds": round(time.perf_counter() - start, 1),
            "device": _device(context.device),
            "threads": torch.get_num_threads(),
            "commit": commit(),
            "dfedge": __version__,
        }
        content = {"table": table.name, "title": table.title, "rows": rows}
        write_file(path, (json.dumps(content, indent=1) + "\n").encode())
    context.watch(f"table {table.name}", len(table.jobs), len(table.jobs))
    return rows


def _device(device: str) -> str:
    return torch.cuda.get_device_name() if device != "cpu" else f"cpu ({platform.machine()})"


def commit() -> str | None:
    """The checkout's commit, where this is one."""
    here = Path(__file__).parent
    done = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or None


def grid(corner: str, rows: list[str], columns: list[str], cell: Callable[[str, str], str]) -> str:
    """A Markdown table."""
    lines = [f"| {corner} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {r} | " + " | ".join(cell(r, c) for c in columns) + " |" for r in rows]
    return "\n".join(lines)


def percent(row: Row | None, name: str) -> str:
    """A cell: its percentage, or why there is none."""
    if row is None:
        return "not run"
    if row["status"] == "not run":
        return "not run"
    value = row.get(name)
    return "-" if value is None else f"{100 * value:.1f}"
