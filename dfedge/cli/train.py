"""``dfedge train``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import percent, print_json, progress, say
from dfedge.cli.options import Data, DataDir, Json


def run(
    out: Annotated[Path, typer.Option(help="The RUN folder to make or to resume.")],
    data: Data = "digits",
    data_dir: DataDir = None,
    net: Annotated[
        str | None, typer.Option(help="A shipped net or a path .toml; default: the data set's own.")
    ] = None,
    rule: Annotated[str, typer.Option(help="The learning rule: df.")] = "df",
    qat: Annotated[
        bool, typer.Option("--qat", help="Then calibrate and train on under fake quantisation.")
    ] = False,
    epochs: Annotated[int | None, typer.Option(help="Float epochs.")] = None,
    qat_epochs: Annotated[int | None, typer.Option(help="Fake-quantised epochs.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples an update.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int, typer.Option(help="Of initial weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: Json = False,
) -> None:
    """Train a net with a local learning rule on the host.

    Stopped at any time, the same command goes on from the last whole epoch.

    [bold]Example:[/] dfedge train --data digits --qat --out out/digits
    """
    from dfedge.learn.train import TrainOptions, train

    settings = {"epochs": epochs, "qat_epochs": qat_epochs, "batch": batch, "lr": lr}
    options = TrainOptions(data, data_dir, net, rule, qat, seed, settings)
    with progress() as watch:
        trained = train(options, out, device, watch)
    accuracy = {
        row["phase"]: row["test_accuracy"] for row in trained.metrics() if "test_accuracy" in row
    }
    if json:
        print_json({"run": str(out), "test_accuracy": accuracy})
        return
    for phase, value in accuracy.items():
        say(f"{phase}: {percent(value)} of the test split")
    after = f"export {out} --format onnx --out {out}-bundle" if qat else f"calibrate {out}"
    say(f"wrote {out} (run.json, checkpoint, metrics.jsonl)", next_command=f"dfedge {after}")
