"""``dfedge calibrate``."""

from typing import Annotated

import typer

from dfedge.cli.console import print_json, say, table
from dfedge.cli.options import Json, RunArg


def run(
    run_folder: RunArg,
    recipe: Annotated[
        str, typer.Option(help="minmax, percentile, pow2-mse, or the path of a .toml file.")
    ] = "pow2-mse",
    json: Json = False,
) -> None:
    """Choose power-of-two scales from training samples.

    [bold]Example:[/] dfedge calibrate out/digits --recipe percentile
    """
    import msgspec

    from dfedge.allocator import keep_freed_memory
    from dfedge.learn.run import Run
    from dfedge.learn.train import calibrate_run

    keep_freed_memory()
    calibration = calibrate_run(Run.open(run_folder), recipe)
    if json:
        print_json(msgspec.to_builtins(calibration))
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
    say(
        f"wrote {run_folder / 'calibration.json'}",
        next_command=f"dfedge export {run_folder} --format onnx --out {run_folder}-bundle",
    )
