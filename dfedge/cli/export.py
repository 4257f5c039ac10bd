"""``dfedge export``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import kib, print_json, progress, say, table, warn
from dfedge.cli.options import Budget, DeviceRule, Json, RunArg, Target, TrainLayers


def run(
    run_folder: RunArg,
    out: Annotated[Path, typer.Option(help="The bundle's folder; an older bundle is replaced.")],
    format: Annotated[
        list[str],
        typer.Option("--format", help="onnx, executorch, litert or c; repeat it for several."),
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
    json: Json = False,
) -> None:
    """Make the bundle that learns on the device, in one or several formats.

    Every format must give the golden integers in its own runtime before the bundle appears.

    [bold]Example:[/] dfedge export out/digits --format onnx --format executorch --out out/bundle
    """
    import msgspec

    from dfedge.allocator import keep_freed_memory
    from dfedge.export.write import ExportOptions, export
    from dfedge.learn.run import Run

    keep_freed_memory()
    formats = tuple(dict.fromkeys(format))
    options = ExportOptions(
        formats, target, batch, rule, train_layers, spare_classes, budget, rendering
    )
    notes: list[str] = []
    with progress() as watch:
        bundle = export(Run.open(run_folder), options, out, watch, notes.append)
    warn(notes)
    manifest = bundle.manifest
    if json:
        records = msgspec.to_builtins(manifest.formats)
        print_json({"bundle": str(out), "sha256": bundle.sha256, "formats": records})
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
    steps = {record.verified_steps for record in manifest.formats.values()}
    say(f"verified: {min(steps)} training steps, byte-identical with PyTorch in every format")
    size = sum(record.bytes for record in manifest.files.values())
    say(
        f"wrote {out} ({kib(size)}, bundle {bundle.sha256[:12]})",
        next_command=f"dfedge finetune {out} --data {manifest.data} --shift rotate:90",
    )
