"""The planned bytes as a picture."""

from pathlib import Path
from typing import Any

from dfedge.bundle import Manifest
from dfedge.errors import DfedgeError

ARENA, STATE = "#4c72b0", "#dd8452"


def memory_figure(manifest: Manifest) -> Any:
    """A matplotlib figure: arena and state of every method of every format, in KiB.

    Raises:
        DfedgeError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DfedgeError("plots need matplotlib; pip install matplotlib") from error
    rows = [
        (f"{format} {method}", plan)
        for format, record in manifest.formats.items()
        for method, plan in sorted(record.memory.items())
    ][::-1]
    names = [name for name, _ in rows]
    arena = [plan.arena_bytes / 1024 for _, plan in rows]
    state = [plan.state_bytes / 1024 for _, plan in rows]
    figure = Figure(figsize=(7, 0.6 + 0.34 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, state, color=STATE, label="state")
    axes.barh(names, arena, left=state, color=ARENA, label="arena")
    axes.set_xlabel("planned KiB")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def write_chart(manifest: Manifest, path: Path) -> None:
    """Save `memory_figure`; the suffix chooses the kind of file."""
    figure = memory_figure(manifest)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise DfedgeError(f"{path}: cannot be written ({error})") from error
