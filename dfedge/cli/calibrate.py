"""``dfedge calibrate``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import print_json, say, table
from dfedge.cli.options import Json, RunArg


def run(
    run_folder: RunArg,
    recipe: Annotated[
        str,
        typer.Option(
            help="Calibration recipe: minmax, percentile, pow2-mse, or the path of a .toml file."
        ),
    ] = "pow2-mse",
    explain: Annotated[
        bool, typer.Option("--explain", help="Also show the signal-to-noise ratio of each layer.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the bars of --explain to this file (.svg).")
    ] = None,
    json: Json = False,
) -> None:
    """Choose power-of-two scales from training samples.

    For an adopted net, only the layers that learn: its trunk was calibrated by dfedge adopt.

    [bold]Example:[/] dfedge calibrate out/digits --recipe percentile
    """
    from dataclasses import asdict

    import msgspec

    from dfedge.allocator import keep_freed_memory
    from dfedge.learn.explain import explain as losses_of
    from dfedge.learn.loss_chart import losses_figure
    from dfedge.learn.run import Run
    from dfedge.learn.train import calibrate_run
    from dfedge.page import check_plot, save

    if plot:
        check_plot(plot)
    keep_freed_memory()
    run = Run.open(run_folder)
    calibration = calibrate_run(run, recipe)
    losses = losses_of(run) if explain or plot else []
    if plot:
        save(losses_figure(losses), plot)
    if json:
        told = {"losses": [asdict(lost) for lost in losses]} if explain else {}
        print_json(msgspec.to_builtins(calibration) | told)
        return
    table(
        f"scales by recipe {recipe} (integer = real x 2^exponent)",
        ["convolution", "weight exponent", "activation exponent"],
        [
            [f"layer{i}.conv{j}", str(scales.weight), str(scales.activation)]
            for i, layer in enumerate(calibration.layers)
            for j, scales in enumerate(layer.convs)
        ],
    )
    if explain:
        table(
            "signal to noise of each result, in integers against float",
            ["result", "dB"],
            [[lost.name, f"{lost.snr:.1f}"] for lost in losses],
        )
    if plot:
        say(f"wrote {plot}")
    say(
        f"wrote {run_folder / 'calibration.json'}",
        next_command=f"dfedge export {run_folder} --format onnx --out {run_folder}-bundle",
    )
