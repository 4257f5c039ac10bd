"""``dfedge train``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import percent, print_json, progress, say
from dfedge.cli.options import (
    Data,
    DataDir,
    FalseAlarms,
    Features,
    Hop,
    Image,
    ImageFit,
    Input,
    Json,
    Label,
    LeaveOut,
    Modes,
    NoKeep,
    OnBadSample,
    Task,
    Window,
    seed_option,
)
from dfedge.cli.signals import told
from dfedge.rules import OWN
from dfedge.runtimes import listed


def run(
    out: Annotated[Path, typer.Option(help="The RUN folder to make or to resume.")],
    data: Data = "digits",
    data_dir: DataDir = None,
    net: Annotated[
        str | None,
        typer.Option(
            help="A shipped net (images: mnist, cifar, resnet8; sound: speech, kws; windows: imu, "
            "vibration; rows: vector; ...) or a path .toml; default: the data's own."
        ),
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="Blocks of a net whose depth is free (plain-64, plain-16).")
    ] = None,
    rule: Annotated[
        str,
        typer.Option(help=f"Learning rule: {listed(OWN)}."),
    ] = "df",
    form: Annotated[
        str, typer.Option(help="one-pass (anchors, the edge default) or label-plane (the paper's).")
    ] = "one-pass",
    loss: Annotated[
        str | None,
        typer.Option(help="Margin: separation, absolute, relative; or softmax, cross-entropy."),
    ] = None,
    margin: Annotated[float | None, typer.Option(help="m of the margin loss.")] = None,
    penalty: Annotated[float | None, typer.Option(help="lambda of the margin loss.")] = None,
    negatives: Annotated[
        int | None, typer.Option(help="N wrong labels a sample; 0: all of them.")
    ] = None,
    draw: Annotated[
        str | None, typer.Option(help="How N of them are drawn: uniform or confusion.")
    ] = None,
    qat: Annotated[
        bool, typer.Option("--qat", help="Then calibrate and train on under fake quantisation.")
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(help="Float epochs; 0: random weights, to learn from scratch on the device."),
    ] = None,
    qat_epochs: Annotated[int | None, typer.Option(help="Fake-quantised epochs.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples an update.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    validation: Annotated[
        int | None,
        typer.Option(help="Training samples held out to choose the layers that count; 0: none."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Training samples used, drawn from the seed; 0: all.")
    ] = None,
    lean: Annotated[
        bool, typer.Option("--lean", help="df and ff hold one map a layer, at half the speed.")
    ] = False,
    precision: Annotated[
        str | None,
        typer.Option(help="Of float epochs: auto, float32, bfloat16 (fast where the CPU has it)."),
    ] = None,
    weight_bits: Annotated[int | None, typer.Option(help="Of fake-quantised weights.")] = None,
    minutes: Annotated[
        float,
        typer.Option(
            help="Of this start: stop after the epoch in which they have passed; 0: go to the end.",
            min=0,
        ),
    ] = 0,
    seed: Annotated[int, seed_option("Of initial weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    image: Image = "",
    fit: ImageFit = "",
    input: Input = "",
    features: Features = "",
    window: Window = 0,
    hop: Hop = 0,
    label: Label = "",
    leave_out: LeaveOut = "",
    on_bad_sample: OnBadSample = "stop",
    no_keep: NoKeep = False,
    task: Task = "classes",
    modes: Modes = None,
    false_alarms: FalseAlarms = 0.01,
    json: Json = False,
) -> None:
    """Train a net with a local learning rule on the host.

    Stopped at any time, the same command goes on from the last whole epoch.

    [bold]Example:[/] dfedge train --data digits --qat --out out/digits
    """
    from dfedge.allocator import keep_freed_memory
    from dfedge.data.reading import Reading
    from dfedge.learn.normal import wish_of
    from dfedge.learn.train import TrainOptions, train

    keep_freed_memory()
    settings = {
        "epochs": epochs,
        "qat_epochs": qat_epochs,
        "batch": batch,
        "lr": lr,
        "validation": validation,
        "weight_bits": weight_bits,
        "samples": samples,
        "lean": lean or None,
        "precision": precision,
    }
    options = TrainOptions(
        data, data_dir, net, rule, qat, seed, settings, form, depth,
        {"kind": loss, "margin": margin, "penalty": penalty, "negatives": negatives, "draw": draw},
        not no_keep, image, fit, on_bad_sample, Reading(input, window, hop, label, leave_out),
        features,
        wish_of(task, modes, false_alarms),
    )  # fmt: skip
    with told(f"; {out} keeps every finished epoch"), progress() as watch:
        trained = train(options, out, device, watch, minutes)
    accuracy = {
        row["phase"]: row["test_accuracy"] for row in trained.metrics() if "test_accuracy" in row
    }
    found = len(trained.plan.classes) if trained.plan.normal else None
    if json:
        made = {"run": str(out), "test_accuracy": accuracy, "modes": found}
        print_json(made | {"finished": trained.finished()})
        return
    if not trained.finished():
        done = sum("epoch" in row for row in trained.metrics())
        say(f"stopped after {minutes:g} minutes; epochs done: {done}; the same command goes on")
        return
    if found:
        say(f"{found} modes of normal operation; of the test samples these are in their own:")
    for phase, value in accuracy.items():
        say(f"{phase}: {percent(value)} of the test split")
    after = f"export {out} --format onnx --out {out}-bundle" if qat else f"calibrate {out}"
    say(f"wrote {out} (run.json, checkpoint, metrics.jsonl)", next_command=f"dfedge {after}")
