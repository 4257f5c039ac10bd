"""``dfedge fit``."""

from typing import Annotated

import typer

from dfedge.cli.console import print_json, say
from dfedge.cli.options import Json, RunArg


def run(
    run_folder: RunArg,
    target: Annotated[
        str, typer.Option(help="The device: a name from dfedge targets list, or a path .toml.")
    ] = "host",
    budget: Annotated[
        str | None,
        typer.Option(help="Arena and state together, as 256KB; what the target leaves a model."),
    ] = None,
    format: Annotated[str, typer.Option("--format", help="executorch, onnx or litert.")] = (
        "executorch"
    ),
    rule: Annotated[
        str | None,
        typer.Option(help="On the device: df, df-o, df-r or df-r-concordant; as trained."),
    ] = None,
    train_layers: Annotated[
        str, typer.Option(help="all, or last:N: the layers below are frozen.")
    ] = "all",
    json: Json = False,
) -> None:
    """Find the largest batch, and the deepest trainable suffix, that fit a device.

    Computed in seconds from the schedule of the step, without an export; the export holds the
    program to the same budget and has the last word.

    [bold]Example:[/] dfedge fit out/digits --target nrf52840
    """
    import msgspec

    from dfedge.export.fit import fit
    from dfedge.export.options import ExportOptions
    from dfedge.learn.run import Run

    options = ExportOptions((format,), target, 1, rule, train_layers, 0, budget)
    found = fit(Run.open(run_folder), options)
    if json:
        print_json(msgspec.to_builtins(found))
        return
    say(f"{found.allowed_bytes:,} B for arena and state; inference takes {found.infer_bytes:,} B")
    if not found.train_layers:
        say(f"no layer can be trained there in {found.format}; train a narrower net")
        return
    if found.batch:
        say(f"largest batch: {found.batch} ({found.batch_bytes:,} B)")
    say(f"train layers: {found.train_layers} at batch 1 ({found.train_layers_bytes:,} B)")
    size = found.batch or 1
    limit = f"--budget {budget}" if budget else f"--target {target}"
    say("", next_command=(
        f"dfedge export {run_folder} --format {format} {limit} --batch {size} "
        f"--train-layers {found.train_layers} --out out/bundle"
    ))  # fmt: skip
