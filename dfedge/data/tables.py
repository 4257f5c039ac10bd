"""Files .csv of sensors: recordings by class, or one table with a column that names the class.

A column is known by its name: the class (`LABELS`, or --label), time (`TIMES`), whose it is
(`GROUPS`); every other one is a channel.  A table is cut into recordings where class or owner
change, and where time has a gap.
"""

import csv
import io
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.data.door import SampleFilter
from dfedge.data.recordings import Recording
from dfedge.errors import DfedgeError, UsageError, foreign
from dfedge.names import some, spelled
from dfedge.regular import open_file

LABELS = ("label", "class", "activity", "gesture", "target")
TIMES = ("time", "timestamp", "t", "seconds", "ms", "us")
GROUPS = ("person", "subject", "user", "speaker", "machine", "device", "day", "session")
GAP, SAME_RATE = 1.5, 0.05
"""Of the usual step in time: what is a gap, and by how much rates of two files may differ."""
MOST_BYTES = 1 << 30
DECIMAL_COMMA = re.compile(r"^\s*([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)\s*$")
SUFFIX = ".csv"
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CsvFile:
    """One file.

    Attributes:
        names: of the channels; none without a header.
        x: float64 [L, C]; not a number where the file held none and bad samples are skipped.
        labels: class of each row; none without such a column.
        groups: kind -> whose each row is.
        breaks: rows that begin a new stretch because of a gap in time.
        step: usual, in the file's units of time; 0: it has none.
        columns: what they were taken for, in words.
    """

    names: tuple[str, ...]
    x: NDArray[np.float64]
    labels: tuple[str, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    breaks: frozenset[int] = frozenset()
    step: float = 0.0
    columns: str = ""


def read_table(path: Path, label: str = "", door: SampleFilter | None = None) -> CsvFile:
    """One file .csv, with a header or of numbers alone.

    Args:
        label: the column that names the class, where it bears another name.
        door: what becomes of a cell that is not a number; None stops at the first.

    Raises:
        UsageError: no column of that name.
        DfedgeError: not a table, with the line.
    """
    with foreign(path, "a table"), open_file(path) as file:
        raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise DfedgeError(f"{path}: more than {MOST_BYTES:,} bytes; cut it into several files")
        rows = _rows(raw.decode("utf-8-sig"))
    if not rows:
        raise DfedgeError(f"{path}: an empty table")
    header = None if all(map(is_number, rows[0])) else [spelled(one.strip()) for one in rows[0]]
    body = rows[1:] if header else rows
    if not body:
        raise DfedgeError(f"{path}: a header and no rows")
    wide = len(rows[0])
    odd = next((i for i, row in enumerate(rows) if len(row) != wide), None)
    if odd is not None:
        raise DfedgeError(f"{path}: line {odd + 1} has {len(rows[odd])} columns, the first {wide}")
    return _table(path, header or [], body, label, door or SampleFilter())


def _rows(text: str) -> list[list[str]]:
    """Cells apart by commas, tabs, or semicolons, where a comma may stand in a number."""
    first = text.partition("\n")[0]
    delimiter = next((one for one in ";\t" if one in first), ",")
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    if delimiter != ";":
        return rows
    return [[DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in row] for row in rows]


def is_number(cell: str) -> bool:
    """Whether a cell is one, NaN and infinities included."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _table(
    path: Path, header: list[str], body: list[list[str]], label: str, door: SampleFilter
) -> CsvFile:
    roles = [_role(name, label) for name in header] or ["channel"] * len(body[0])
    if label and "label" not in roles:
        there = ", ".join(header) or "no names"
        raise UsageError(f"{path}: no column '{label}'; there are {there}")
    columns = list(zip(*body, strict=True))
    at = {role: [i for i, one in enumerate(roles) if one == role] for role in set(roles)}
    if not at.get("channel"):
        raise DfedgeError(f"{path}: no column of measurements: {', '.join(header)}")
    first = 2 if header else 1
    numbers = [
        _numbers(columns[i], f"{path}: column {header[i] if header else i + 1}", first, door)
        for i in at["channel"]
    ]
    breaks, step = frozenset[int](), 0.0
    if at.get("time"):
        here = at["time"][0]
        breaks, step = _gaps(_times(columns[here], f"{path}: column {header[here]}", first), path)
    return CsvFile(
        tuple(header[i] for i in at["channel"]) if header else (),
        np.stack(numbers, 1),
        tuple(spelled(one.strip()) for one in columns[at["label"][0]]) if at.get("label") else (),
        {header[i].lower(): tuple(one.strip() for one in columns[i]) for i in at.get("group", [])},
        breaks,
        step,
        _understood(header, roles),
    )


def _understood(header: list[str], roles: list[str]) -> str:
    """``class activity; time t; 6 channels: x, y, ...``."""
    if not header:
        return f"{len(roles)} channels without names"
    said = {"label": "class", "time": "time", "group": "group"}
    parts = [f"{said[role]} {name}" for name, role in zip(header, roles, strict=True)
             if role in said]  # fmt: skip
    channels = [name for name, role in zip(header, roles, strict=True) if role == "channel"]
    return "; ".join([*parts, f"{len(channels)} channels: {some(channels)}"])


def _role(name: str, label: str) -> str:
    low = name.lower()
    if name == label or (not label and low in LABELS):
        return "label"
    if low in TIMES:
        return "time"
    return "group" if low in GROUPS else "channel"


def _numbers(
    cells: Sequence[str], where: str, first: int, door: SampleFilter
) -> NDArray[np.float64]:
    try:
        return np.array(cells, np.float64)
    except ValueError:
        bad = next(i for i, cell in enumerate(cells) if not is_number(cell))
    if door.policy == "stop":
        raise DfedgeError(
            f"{where}, line {first + bad}: {cells[bad][:40]!r} is not a number; correct it, skip "
            "it with --on-bad-sample skip, or give --label where this column names the class"
        )
    return np.array([float(cell) if is_number(cell) else np.nan for cell in cells])


def _times(cells: Sequence[str], where: str, first: int) -> NDArray[np.float64]:
    """Numbers as they are, and dates as seconds."""
    if not is_number(cells[0]):
        try:
            return np.array(cells, "datetime64[us]").astype(np.float64) / 1e6
        except ValueError:
            pass
    return _numbers(cells, where, first, SampleFilter())


def _gaps(times: NDArray[np.float64], path: Path) -> tuple[frozenset[int], float]:
    steps = np.diff(times)
    if not len(steps):
        return frozenset(), 0.0
    usual = float(np.median(steps))
    if usual <= 0 or not np.isfinite(usual):
        raise DfedgeError(f"{path}: its times do not rise; sort its rows by time")
    breaks = np.flatnonzero((steps > GAP * usual) | (steps <= 0)) + 1
    if len(breaks):
        LOG.info("%s: %d gaps in time; no window lies across one", path, len(breaks))
    return frozenset(map(int, breaks)), usual


def stretches(table: CsvFile, label: str, groups: dict[str, str]) -> list[tuple[str, Recording]]:
    """A table cut where class or owner change and at gaps: (class, recording of label 0) each.

    Args:
        label: of all rows of a table that names none.
        groups: of all rows, beside the table's own.
    """
    owners = list(zip(table.labels or [label] * len(table.x), *table.groups.values(), strict=True))
    starts = [
        i for i in range(len(owners)) if i == 0 or owners[i] != owners[i - 1] or i in table.breaks
    ]
    found = []
    for start, end in zip(starts, [*starts[1:], len(owners)], strict=True):
        name, *whose = owners[start]
        own = dict(zip(table.groups, whose, strict=True))
        found.append((name, Recording(table.x[start:end], 0, groups | own)))
    return found


def check_alike(tables: Sequence[tuple[Path, CsvFile]]) -> tuple[str, ...]:
    """Names of the channels of all files.

    Raises:
        DfedgeError: two files of other channels, or of other rates.
    """
    (first, one), *others = tables
    for path, other in others:
        if (other.names, other.x.shape[1]) != (one.names, one.x.shape[1]):
            missing = [name for name in one.names if name not in other.names]
            what = f"no column {', '.join(missing)}" if missing else "other columns"
            raise DfedgeError(f"{path}: {what}; {first} has {', '.join(one.names)}")
        if abs(other.step - one.step) > SAME_RATE * one.step:
            raise DfedgeError(
                f"{path}: one sample every {other.step:g}, {first} has one every {one.step:g}; "
                "bring both to one rate"
            )
    return one.names


def windows_of(path: Path, length: int, names: tuple[str, ...]) -> NDArray[Any]:
    """Samples without labels, [N, T, C]: a file's windows one after the other.

    Raises:
        DfedgeError: another file, columns that are missing, or too short.
    """
    if path.suffix.lower() != SUFFIX:
        raise DfedgeError(f"{path}: no recording; the model reads files .csv, or .npz with x")
    table = read_table(path)
    if names and table.names and names != table.names:
        missing = [name for name in names if name not in table.names]
        if missing:
            raise DfedgeError(f"{path}: no column {', '.join(missing)}")
        order = [table.names.index(name) for name in names]
        table = CsvFile(names, table.x[:, order])
    count = len(table.x) // length
    if not count:
        raise DfedgeError(
            f"{path}: {len(table.x)} samples, fewer than a window of {length}; record longer"
        )
    return table.x[: count * length].reshape(count, length, -1)
