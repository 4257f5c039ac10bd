"""``dfedge export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfedge.cli.console import kib, percent, print_json, progress, say, table, warn
from dfedge.cli.options import Budget, DeviceRule, Json, RunArg, Target, TrainLayers
from dfedge.exporters.ecosystems import DEFAULT, ECOSYSTEMS
from dfedge.native.naming import NET
from dfedge.runtimes import STOCK, listed

if TYPE_CHECKING:
    from dfedge.manifest import Learning


def run(
    run_folder: RunArg,
    out: Annotated[Path, typer.Option(help="The bundle's folder; an older bundle is replaced.")],
    format: Annotated[
        list[str],
        typer.Option("--format", help=f"{listed(STOCK)}; repeat it for several."),
    ] = ["onnx"],  # noqa: B006  Typer wants the list itself
    rendering: Annotated[
        str,
        typer.Option(
            help="Of onnx and executorch: stock operators, our own native ones, or both.",
        ),
    ] = "both",
    target: Target = "host",
    budget: Budget = None,
    batch: Annotated[
        int, typer.Option(min=1, max=1024, help="The larger batch size; 1 is always there.")
    ] = 16,
    rule: DeviceRule = None,
    train_layers: TrainLayers = "all",
    spare_classes: Annotated[
        int, typer.Option(min=0, max=4096, help="Anchor rows kept for classes to come.")
    ] = 0,
    data: Annotated[
        str | None,
        typer.Option(
            help="Samples to try learning on, in the place of those that the RUN kept: a name or "
            "path; of its training split.",
        ),
    ] = None,
    no_trial: Annotated[
        bool,
        typer.Option("--no-trial", help="Do not try learning; all layers learn as was measured."),
    ] = False,
    version: Annotated[
        int,
        typer.Option(
            help="Of the bundle, raised with each that is sent out; devices refuse a lower one "
            "(--min-version). 0: none.",
        ),
    ] = 0,
    prefix: Annotated[
        str, typer.Option(help="Of C: what names and files begin with; two nets in one firmware.")
    ] = NET,
    ecosystem: Annotated[
        str, typer.Option("--for", help=f"Of C: the folder drops into {listed(ECOSYSTEMS)}.")
    ] = DEFAULT,
    json: Json = False,
) -> None:
    """Make the bundle that learns on the device, in one or several formats.

    Every format must give the golden integers in its own runtime before the bundle appears.

    [bold]Example:[/] dfedge export out/digits --format onnx --format executorch --out out/bundle
    """
    import msgspec

    from dfedge.allocator import keep_freed_memory
    from dfedge.exporters.write import ExportOptions, export
    from dfedge.learn.run import Run

    keep_freed_memory()
    formats = tuple(dict.fromkeys(format))
    options = ExportOptions(
        formats, target, batch, rule, train_layers, spare_classes, budget, rendering,
        not no_trial, data, version, prefix, ecosystem,
    )  # fmt: skip
    notes: list[str] = []
    with progress() as watch:
        bundle = export(Run.open(run_folder), options, out, watch, notes.append)
    warn(notes)
    manifest = bundle.manifest
    if json:
        records = msgspec.to_builtins(manifest.formats)
        print_json({"bundle": str(out), "sha256": bundle.sha256, "formats": records,
                    "learning": msgspec.to_builtins(manifest.learning),
                    "normal": msgspec.to_builtins(manifest.normal),
                    "lineage": manifest.lineage, "version": manifest.bundle_version})  # fmt: skip
        return
    table(
        f"planned memory, {kib(manifest.budget_bytes)} allowed",
        ["method", "arena", "state"],
        [
            [f"{name} {method}", kib(plan.arena_bytes), kib(plan.state_bytes)]
            for name, record in manifest.formats.items()
            for method, plan in record.memory.items()
        ],
    )
    say(learning_line(manifest.learning, len(manifest.plan.layers), no_trial))
    if manifest.normal is not None:
        promised, held = percent(manifest.normal.false_alarms), manifest.normal.held_back
        say(f"normal: up to the distance that {promised} of {held:,} held-back samples exceed")
    steps = {record.verified_steps for record in manifest.formats.values()}
    say(f"verified: {min(steps)} training steps, byte-identical with PyTorch in every format")
    size = sum(record.bytes for record in manifest.files.values())
    numbered = f", version {version}" if version else ""
    changes = "+".join(f"{name}:{value}" for name, value in manifest.input.drift.items())
    shift = f" --shift {changes}" if changes else ""
    say(
        f"wrote {out} ({kib(size)}, bundle {bundle.sha256[:12]}{numbered})",
        next_command=f"dfedge finetune {out} --data {manifest.data}{shift}",
    )


def learning_line(learning: "Learning", layers: int, left_out: bool) -> str:
    """What was found when learning was tried, in one line."""
    what = {
        "all": "all layers learn" if not learning.frozen else
               f"layers {learning.frozen}-{layers - 1} learn",
        "upper": f"layers {learning.frozen}-{layers - 1} learn, those below are frozen: no rate "
                 "moved them without loss",
        "anchors": "without a guard anchors alone learn: no rate moved weights without loss",
        "nothing": "without a guard nothing learns: even anchors did harm",
    }[learning.learns]  # fmt: skip
    if learning.undertrained:
        what += "; it was trained too little, so learning never rests"
    if not learning.tried:
        if learning.learns == "anchors":
            return (
                "learning: not tried, anchors alone learn; give samples to try it on: --data PATH"
            )
        why = "left out by --no-trial" if left_out else "nothing was trained yet"
        return f"learning: not tried ({why}); {what}"
    first, last = learning.curve[0], learning.curve[-1]
    return (
        f"learning: own data {percent(first.own)} -> {percent(last.own)}, changed "
        f"{percent(first.changed)} -> {percent(last.changed)} ({learning.change}; "
        f"{last.presented} presentations, {learning.held_out} samples held out); {what}"
    )
