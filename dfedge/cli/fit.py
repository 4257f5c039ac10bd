"""``dfedge fit``."""

from typing import Annotated

import typer

from dfedge.cli.console import print_json, say, table
from dfedge.cli.options import Budget, DeviceRule, Json, RunArg, Target, TrainLayers


def run(
    run_folder: RunArg,
    target: Target = "host",
    budget: Budget = None,
    format: Annotated[
        list[str] | None,
        typer.Option("--format", help="c, executorch, onnx or litert; default: what it can open."),
    ] = None,
    rule: DeviceRule = None,
    train_layers: TrainLayers = "all",
    json: Json = False,
) -> None:
    """Find the largest batch, and the deepest trainable suffix, that fit a device.

    Computed from the schedule of the step, without an export; batches up to 64. The export holds
    the program to the same budget and has the last word.

    [bold]Example:[/] dfedge fit out/digits --target nrf52840
    """
    import msgspec

    from dfedge.export.fit import fit
    from dfedge.export.options import ExportOptions
    from dfedge.learn.run import Run
    from dfedge.target import load_target

    formats = tuple(format or load_target(target).runtimes)
    options = ExportOptions(formats, target, 1, rule, train_layers, 0, budget)
    found = fit(Run.open(run_folder), options)
    if json:
        print_json({one.format: msgspec.to_builtins(one) for one in found})
        return
    table(
        f"{found[0].allowed_bytes:,} B for arena and state",
        ["format", "inference", "trains at batch 1", "largest batch"],
        [
            [one.format, f"{one.infer_bytes:,} B",
             f"{one.train_layers}: {one.train_layers_bytes:,} B" if one.train_layers else "-",
             f"{one.batch}: {one.batch_bytes:,} B" if one.batch else "-"]
            for one in found
        ],
    )  # fmt: skip
    best = max(found, key=lambda one: (one.batch, one.train_layers_bytes))
    if not best.train_layers:
        say("no layer can be trained there; train a narrower net")
        return
    limit = f"--budget {budget}" if budget else f"--target {target}"
    say("", next_command=(
        f"dfedge export {run_folder} --format {best.format} {limit} --batch {best.batch or 1} "
        f"--train-layers {best.train_layers} --out out/bundle"
    ))  # fmt: skip
