"""A report as pictures."""

from typing import Any

from dfedge.footprint import Footprint, Sample
from dfedge.manifest import Manifest
from dfedge.page import figure
from dfedge.profile.report import Report
from dfedge.profile.rival import Rival
from dfedge.visible import visible

ARENA, STATE, LIMIT = "#4c72b0", "#dd8452", "#c44e52"
GREY = "#8c8c8c"


def bars(report: Report) -> Any:
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
    if limit < max(arena + state for _, arena, state in rows) / 256:
        axes.axvline(limit, color=LIMIT, label=f"{report.target} leaves a model")
        axes.legend(frameon=False, loc="lower right")
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
    picture = figure(8, 0.8 + 0.26 * len(rows))
    axes = picture.subplots()
    axes.barh(names, state, color=STATE, label="state")
    axes.barh(names, arena, left=state, color=ARENA, label="arena")
    axes.set_xlabel("planned KiB")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    return picture, axes


def timeline(found: Footprint, method: str, rival: Rival | None) -> Any:
    """Bytes alive against the position in the schedule, by layer; back-propagation's beside it."""
    theirs = rival.footprint if rival else None
    picture = figure(8, 3.2)
    panels = picture.subplots(1, 2 if theirs else 1, squeeze=False)[0]
    _stack(panels[0], found.samples, f"{method}, distance-forward")
    if theirs:
        _stack(panels[1], theirs.samples, "back-propagation, float32")
    panels[0].set_ylabel("KiB alive")
    return picture


def _stack(axes: Any, samples: list[Sample], title: str) -> None:
    from matplotlib import colormaps

    names = sorted({name for sample in samples for name in sample.layers}, key=_order)
    layers = [name for name in names if name.isdigit()]
    palette = colormaps["viridis"]
    colours = [
        palette(layers.index(name) / max(len(layers) - 1, 1)) if name in layers else GREY
        for name in names
    ]
    at = [sample.position for sample in samples]
    alive = [[sample.layers.get(name, 0) / 1024 for sample in samples] for name in names]
    labels = [f"layer {name}" if name in layers else name for name in names]
    axes.stackplot(at, alive, colors=colours, labels=labels, step="post")
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel("position in the schedule")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="x-small", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)


def _order(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (-1, name)
