"""A report as pictures."""

from typing import Any

from dfedge.footprint import Footprint, Sample
from dfedge.manifest import Manifest
from dfedge.page import WIDE, figure, legend
from dfedge.profile.report import MemoryReport
from dfedge.profile.rival import BackpropPlan
from dfedge.visible import visible

ARENA, STATE, LIMIT = "#4c72b0", "#dd8452", "#c44e52"
GREY = "#8c8c8c"
OTHER = "other"
LIMIT_SHOWN = 4
"""Times the longest bar: a budget that lies further away would make all bars too short to see."""


def bars(report: MemoryReport) -> Any:
    """Arena and state of every training and inference method, and the rivals', in KiB."""
    rows: list[tuple[str, int, int]] = [
        (
            f"{name}{' (plan)' if rendering.planned else ''} {method}",
            need.arena_bytes,
            need.state_bytes,
        )
        for name, rendering in report.renderings.items()
        for method, need in rendering.methods.items()
        if method.startswith(("train_b", "infer_b"))
    ]
    rows += [
        (f"{name} batch {batch}", rival.arena_bytes, rival.state_bytes)
        for batch, found in report.rivals_by_batch.items()
        for name, rival in found.items()
    ]
    picture, axes = _bars(rows)
    limit = report.allowed_bytes / 1024
    if limit < LIMIT_SHOWN * max(arena + state for _, arena, state in rows) / 1024:
        axes.axvline(limit, color=LIMIT, label=f"budget of {visible(report.target)}")
        legend(axes)
    return picture


def memory_figure(manifest: Manifest) -> Any:
    """Arena and state of every method of every format, in KiB."""
    return _bars([
        (f"{format} {method}", plan.arena_bytes, plan.state_bytes)
        for format, record in manifest.formats.items()
        for method, plan in sorted(record.memory.items())
    ])[0]  # fmt: skip


def _bars(rows: list[tuple[str, int, int]]) -> tuple[Any, Any]:
    """Of (name, arena, state)."""
    names = [visible(row[0]) for row in rows][::-1]
    arena = [row[1] / 1024 for row in rows][::-1]
    state = [row[2] / 1024 for row in rows][::-1]
    picture = figure(WIDE, 0.9 + 0.2 * len(rows))
    axes = picture.subplots()
    axes.barh(names, state, color=STATE, label="state")
    axes.barh(names, arena, left=state, color=ARENA, label="arena")
    axes.set_xlabel("planned KiB")
    axes.tick_params("y", labelsize="small")
    axes.margins(y=0.01)
    legend(axes)
    axes.spines[["top", "right"]].set_visible(False)
    return picture, axes


def timeline(found: Footprint, method: str, rival: BackpropPlan | None) -> Any:
    """Bytes alive against the position in the schedule, by layer; back-propagation's beside it."""
    theirs = rival.footprint if rival else None
    picture = figure(WIDE, 5.6 if theirs else 3)
    panels = picture.subplots(2 if theirs else 1, 1, squeeze=False)[:, 0]
    _stack(panels[0], found.samples, f"{method}, distance-forward")
    if theirs:
        _stack(panels[1], theirs.samples, "back-propagation, float32")
    for panel in panels:
        panel.set_ylabel("KiB alive")
    panels[-1].set_xlabel("position in the schedule")
    return picture


def _stack(axes: Any, samples: list[Sample], title: str) -> None:
    from matplotlib import colormaps

    layers = sorted({name for one in samples for name in one.layers if name.isdigit()}, key=int)
    names = [OTHER, *layers]
    palette = colormaps["viridis"]
    shades = (0.25 + 0.75 * i / max(len(layers) - 1, 1) for i in range(len(layers)))  # none is dark
    colours = [GREY, *map(palette, shades)]
    at = [sample.position for sample in samples]
    alive = [[_alive(sample, name) / 1024 for sample in samples] for name in names]
    labels = [OTHER, *(f"layer {name}" for name in layers)]
    axes.stackplot(at, alive, colors=colours, labels=labels, step="post")
    axes.set_ylim(bottom=0)
    legend(axes, 4, visible(title))
    axes.spines[["top", "right"]].set_visible(False)


def _alive(sample: Sample, name: str) -> int:
    """Bytes of a layer, or of all that belongs to none."""
    if name != OTHER:
        return sample.layers.get(name, 0)
    return sum(count for layer, count in sample.layers.items() if not layer.isdigit())
