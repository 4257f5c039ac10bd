"""``dfedge export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfedge.cli.console import percent, print_json, progress, say, size, table, verbose, warn
from dfedge.cli.instructions import tell
from dfedge.cli.manners import canonical
from dfedge.cli.options import Budget, DeviceRule, Json, RunArg, Target, TrainLayers
from dfedge.cli.signals import told
from dfedge.exporters.ecosystems import DEFAULT, ECOSYSTEMS, WEIGHTS
from dfedge.native.naming import NET
from dfedge.runtimes import STOCK, listed

if TYPE_CHECKING:
    from dfedge.manifest import Learning, Manifest


def run(
    run_folder: RunArg,
    out: Annotated[
        Path, typer.Option(help="Folder of the bundle; an existing bundle is replaced.")
    ],
    format: Annotated[
        list[str],
        typer.Option("--format", callback=canonical, help=f"Format: {listed(STOCK)}. Repeatable."),
    ] = ["onnx"],  # noqa: B006  Typer wants the list itself
    rendering: Annotated[
        str,
        typer.Option(
            help="For onnx and executorch: stock operators, our native operator, or both.",
        ),
    ] = "both",
    target: Target = "host",
    budget: Budget = None,
    batch: Annotated[
        int,
        typer.Option(min=1, max=1024, help="Larger batch size; batch size 1 is always included."),
    ] = 16,
    rule: DeviceRule = None,
    train_layers: TrainLayers = "all",
    spare_classes: Annotated[
        int, typer.Option(min=0, max=4096, help="Rows reserved for classes that are added later.")
    ] = 0,
    data: Annotated[
        str | None,
        typer.Option(
            help="Samples for the trial of learning, instead of those kept in the RUN: a name "
            "or path.",
        ),
    ] = None,
    no_trial: Annotated[
        bool,
        typer.Option(
            "--no-trial", help="Skip the trial of learning; all layers learn at the measured rates."
        ),
    ] = False,
    version: Annotated[
        int,
        typer.Option(
            help="Version of the bundle. Raise it with every release; devices can refuse lower"
            " ones (--min-version). 0: none.",
        ),
    ] = 0,
    prefix: Annotated[
        str,
        typer.Option(
            help="For C: prefix of all names and files, so that one firmware can hold several nets."
        ),
    ] = NET,
    ecosystem: Annotated[
        str, typer.Option("--for", help=f"For C: layout of the folder: {listed(ECOSYSTEMS)}.")
    ] = DEFAULT,
    weights: Annotated[
        str | None,
        typer.Option(
            help="For C: form of the weights in the sources: "
            f"{', '.join(f'{name} ({what})' for name, what in WEIGHTS.items())}."
            " Default: binary where it can be assembled."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make the bundle that infers and learns on the device, in one or several formats.

    The bundle appears only if every format reproduces the golden batches in its own runtime.

    [bold]Example:[/] dfedge export out/digits --format onnx --format executorch --out out/bundle
    """
    import msgspec

    from dfedge.allocator import keep_freed_memory
    from dfedge.device.instructions import bounds_of
    from dfedge.exporters.write import ExportOptions, export
    from dfedge.learn.run import Run

    keep_freed_memory()
    formats = tuple(dict.fromkeys(format))
    options = ExportOptions(
        formats, target, batch, rule, train_layers, spare_classes, budget, rendering,
        not no_trial, data, version, prefix, ecosystem, weights,
    )  # fmt: skip
    notes: list[str] = []
    with told(lambda: f"; {out} is {'unchanged' if out.exists() else 'not written'}"), \
            progress() as watch:  # fmt: skip
        bundle = export(Run.open(run_folder), options, out, watch, notes.append)
    warn(notes)
    manifest = bundle.manifest
    bounds = bounds_of(bundle) if "c" in manifest.formats else {}
    if json:
        records = msgspec.to_builtins(manifest.formats)
        print_json({"bundle": str(out), "sha256": bundle.sha256, "formats": records,
                    "learning": msgspec.to_builtins(manifest.learning),
                    "normal": msgspec.to_builtins(manifest.normal),
                    "instructions": bounds,
                    "lineage": manifest.lineage, "version": manifest.bundle_version})  # fmt: skip
        return
    table(
        f"planned memory, {size(manifest.budget_bytes)} allowed",
        ["method", "arena", "state"],
        [
            [f"{name} {method}", size(plan.arena_bytes), size(plan.state_bytes)]
            for name, record in manifest.formats.items()
            for method, plan in record.memory.items()
            if verbose() or method.startswith(("train_b", "infer_b"))
        ],
    )
    tell(bounds)
    say(learning_line(manifest.learning, len(manifest.plan.layers), no_trial))
    if manifest.normal is not None:
        promised, held = percent(manifest.normal.false_alarms), manifest.normal.held_back
        say(f"normal: up to the distance that {promised} of {held:,} held-back samples exceed")
    steps = {record.verified_steps for record in manifest.formats.values()}
    say(f"verified: {min(steps)} training steps, byte-identical with PyTorch in every format")
    whole = sum(record.bytes for record in manifest.files.values())
    numbered = f", version {version}" if version else ""
    data, shift = proposed(manifest)
    say(
        f"wrote {out} ({size(whole)}, bundle {bundle.sha256[:12]}{numbered})",
        next_command=f"dfedge finetune {out} --data {data}{shift}",
    )


def proposed(manifest: "Manifest") -> tuple[str, str]:
    """What to learn next: samples of one's own where the net has such, else the set, changed."""
    from dfedge.data.sources import find

    if find(manifest.data) is None:
        return "NEW-SAMPLES", ""
    change = manifest.input.proposed
    return manifest.data, f" --shift {change}" if change else ""


def learning_line(learning: "Learning", layers: int, left_out: bool) -> str:
    """What was found when learning was tried, in one line."""
    what = {
        "all": "all layers learn" if not learning.frozen else
               f"layers {learning.frozen}-{layers - 1} learn",
        "upper": f"layers {learning.frozen}-{layers - 1} learn, those below are frozen: every rate "
                 "for them lost accuracy",
        "anchors": "without a guard only anchors learn: every rate for the weights lost accuracy",
        "nothing": "without a guard nothing learns: even moving anchors lost accuracy",
    }[learning.learns]  # fmt: skip
    if learning.undertrained:
        what += "; the net is undertrained, so learning never slows down"
    if not learning.tried:
        if learning.learns == "anchors":
            from dfedge.exporters.learning import MIN_HELD_OUT

            return (
                f"learning: not tried, for {learning.held_out} samples were held out of training "
                f"and {MIN_HELD_OUT} are needed; without a guard only anchors learn; train on more "
                "samples, or give others to try it on: --data PATH"
            )
        why = "left out by --no-trial" if left_out else "nothing was trained yet"
        return f"learning: not tried ({why}); {what}"
    first, last = learning.curve[0], learning.curve[-1]
    return (
        f"learning: own data {percent(first.own)} -> {percent(last.own)}, changed "
        f"{percent(first.changed)} -> {percent(last.changed)} ({learning.change}; "
        f"{last.presented} presentations, {learning.held_out} samples held out); {what}"
    )
