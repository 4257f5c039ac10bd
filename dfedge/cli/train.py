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
    out: Annotated[Path, typer.Option(help="RUN folder to create or resume.")],
    data: Data = "digits",
    data_dir: DataDir = None,
    net: Annotated[
        str | None,
        typer.Option(
            help="Net by name (images: mnist, cifar, resnet8; sound: speech, kws; windows: "
            "imu, vibration; rows: vector; ...) or the path of a .toml file. Default: the"
            " one that suits the data."
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(help="Number of blocks, for nets of variable depth (plain-64, plain-16)."),
    ] = None,
    rule: Annotated[
        str,
        typer.Option(help=f"Learning rule: {listed(OWN)}; or package:object."),
    ] = "df",
    form: Annotated[
        str, typer.Option(help="one-pass (anchors; the default) or label-plane (as in the paper).")
    ] = "one-pass",
    loss: Annotated[
        str | None,
        typer.Option(
            help="Loss: a margin that is separation, absolute or relative; or softmax, or "
            "cross-entropy."
        ),
    ] = None,
    margin: Annotated[float | None, typer.Option(help="Margin m of the margin loss.")] = None,
    penalty: Annotated[
        float | None,
        typer.Option(help="Weight lambda of the pull to the right anchor in the margin loss."),
    ] = None,
    negatives: Annotated[
        int | None, typer.Option(help="Number of wrong labels per sample; 0: all.")
    ] = None,
    draw: Annotated[
        str | None, typer.Option(help="How wrong labels are drawn: uniform or confusion.")
    ] = None,
    qat: Annotated[
        bool,
        typer.Option(
            "--qat", help="After float training, calibrate and continue under fake quantisation."
        ),
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Epochs in float; 0: random weights, to learn from scratch on the device."
        ),
    ] = None,
    qat_epochs: Annotated[int | None, typer.Option(help="Epochs under fake quantisation.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples per update.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    validation: Annotated[
        int | None,
        typer.Option(
            help="Training samples held out to choose which layers contribute to the score; 0:"
            " none."
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Number of training samples to use, drawn at random; 0: all.")
    ] = None,
    lean: Annotated[
        bool,
        typer.Option(
            "--lean",
            help="For df and ff: keep a single activation map per layer, at half the speed.",
        ),
    ] = False,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Precision of float epochs: auto, float32, bfloat16 (fast where the CPU has it)."
        ),
    ] = None,
    weight_bits: Annotated[
        int | None, typer.Option(help="Bits per weight under fake quantisation.")
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(
            help="Minutes for this call: stop after the epoch in which they have passed; 0: train "
            "to the end.",
            min=0,
        ),
    ] = 0,
    seed: Annotated[int, seed_option("Seed for initial weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="Device for training: cpu or cuda.")] = "cpu",
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
    tensorboard: Annotated[
        Path | None,
        typer.Option(help="At the end, write all metrics as TensorBoard events to this folder."),
    ] = None,
    json: Json = False,
) -> None:
    """Train a net with a local learning rule on the host.

    If it is stopped, the same command continues from the last complete epoch.

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
    with told(lambda: _kept(out)), progress() as watch:
        trained = train(options, out, device, watch, minutes)
    if tensorboard:
        from dfedge.learn.board import write_board

        write_board(trained.metrics(), tensorboard)
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


def _kept(out: Path) -> str:
    """What an interrupted training has on the disk."""
    whole = out.is_dir() and any(out.glob("checkpoint*"))
    return f"; {out} keeps every finished epoch" if whole else "; no epoch was finished"
