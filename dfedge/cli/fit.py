"""``dfedge fit``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfedge.cli.console import percent, print_json, progress, say, size, table
from dfedge.cli.manners import canonical
from dfedge.cli.options import (
    Budget,
    Channels,
    ClassNames,
    DataDir,
    DeviceRule,
    Head,
    Hop,
    Image,
    ImageFit,
    Input,
    Json,
    Label,
    LeaveOut,
    Mean,
    Std,
    Target,
    TrainLayers,
    Units,
    Window,
)
from dfedge.data.shift_forms import IMAGES
from dfedge.data.shift_forms import listed as shifts
from dfedge.errors import UsageError
from dfedge.runtimes import STOCK, listed

if TYPE_CHECKING:
    from dfedge.exporters.trial import Choice, Question


def run(
    what: Annotated[
        str,
        typer.Argument(help="Folder made by dfedge train or adopt; with --adopt a MODEL."),
    ],
    target: Target = "host",
    budget: Budget = None,
    format: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            callback=canonical,
            help=f"Format: {listed(STOCK)}. Default: what the target can open.",
        ),
    ] = None,
    rule: DeviceRule = None,
    train_layers: TrainLayers = "all",
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt", help="Try which part of a trained net should learn; see dfedge adopt."
        ),
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="With --adopt: the data that the net was trained for.")
    ] = None,
    data_dir: DataDir = None,
    shift: Annotated[
        str, typer.Option(help=f"With --adopt: change that the device will meet: {shifts(IMAGES)}.")
    ] = "rotate:30",
    learn: Annotated[
        list[str] | None,
        typer.Option(help="With --adopt: choices to try. Default: head, last:1 to last:3, all."),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            min=16, help="With --adopt: number of labelled samples that the device will have."
        ),
    ] = 1000,
    head: Head = "own",
    classes: ClassNames = None,
    image: Image = "",
    image_fit: ImageFit = "",
    channels: Channels = "rgb",
    mean: Mean = "",
    std: Std = "",
    units: Units = "data",
    input: Input = "",
    window: Window = 0,
    hop: Hop = 0,
    label: Label = "",
    leave_out: LeaveOut = "",
    json: Json = False,
) -> None:
    """Find the largest batch, and the deepest trainable suffix, that fit a device.

    The figures are computed without an export, for batches up to 64. The export checks the same
    budget and has the last word.

    With --adopt, try which part of a trained net should learn. Every choice learns a shift of
    the data; a table shows what it gains, forgets and costs, and whether it fits.

    [bold]Example:[/] dfedge fit out/digits --target nrf52840

    [bold]Example:[/] dfedge fit nets:mine --adopt --data cifar10 --shift rotate:30 --budget 512KB
    """
    from dfedge.target import load_target

    formats = tuple(format or load_target(target).runtimes)
    if not adopt:
        _sizes(Path(what), formats, target, budget, rule, train_layers, json)
        return
    if data is None:
        raise UsageError("--adopt needs --data: what the net was trained on")
    from dfedge.adoption.adopt import AdoptOptions
    from dfedge.adoption.halves import LEARN
    from dfedge.cli.adopt import numbers
    from dfedge.data.reading import Reading
    from dfedge.exporters.trial import Question

    model = AdoptOptions(
        what, data, data_dir, mean=numbers("--mean", mean), std=numbers("--std", std),
        order=channels, image=image, fit=image_fit, head=head, classes=classes, units=units,
        reading=Reading(input, window, hop, label, leave_out),
    )  # fmt: skip
    tried = tuple(learn or LEARN)
    _choices(Question(model, tried, shift, samples, target, budget, formats[0]), json)


def _sizes(
    run_folder: Path, formats: tuple[str, ...], target: str, budget: str | None, rule: str | None,
    train_layers: str, json: bool,
) -> None:  # fmt: skip
    import msgspec

    from dfedge.exporters.fit import fit
    from dfedge.exporters.options import ExportOptions
    from dfedge.learn.run import Run

    options = ExportOptions(formats, target, 1, rule, train_layers, 0, budget)
    found = fit(Run.open(run_folder), options)
    if json:
        print_json({one.format: msgspec.to_builtins(one) for one in found})
        return
    table(
        f"{size(found[0].allowed_bytes)} for arena and state",
        ["format", "inference", "trains at batch 1", "largest batch"],
        [
            [one.format, size(one.infer_bytes),
             f"{one.train_layers}: {size(one.train_layers_bytes)}" if one.train_layers else "-",
             f"{one.batch}: {size(one.batch_bytes)}" if one.batch else "-"]
            for one in found
        ],
    )  # fmt: skip
    deepest = max(found, key=lambda one: (one.batch, one.train_layers_bytes))
    best = min(
        (one for one in found
         if (one.batch, one.train_layers) == (deepest.batch, deepest.train_layers)),
        key=lambda one: one.train_layers_bytes,
    )  # fmt: skip
    if not best.train_layers:
        say(f"no layer can be trained there. {best.instead}")
        return
    if best.train_layers != train_layers and best.instead:
        say(best.instead)
    limit = f"--budget {budget}" if budget else f"--target {target}"
    say("", next_command=(
        f"dfedge export {run_folder} --format {best.format} {limit} --batch {best.batch or 1} "
        f"--train-layers {best.train_layers} --out out/bundle"
    ))  # fmt: skip


def _choices(question: "Question", json: bool) -> None:
    import tempfile

    import msgspec

    from dfedge.allocator import keep_freed_memory
    from dfedge.exporters.trial import best, choices

    keep_freed_memory()
    with tempfile.TemporaryDirectory() as scratch, progress() as watch:
        found = list(choices(question, Path(scratch), watch))
    chosen = best(found)
    if json:
        rows = [msgspec.to_builtins(one) for one in found]
        print_json({"choices": rows, "best": chosen.learn if chosen else None})
        return
    table(
        f"{question.shift}, learned from {question.samples} labelled samples ({question.format})",
        ["--learn", "shifted", "after", "original", "after", "arena", "state", "frozen",
         "ms a step", "fits"],
        [_row(one) for one in found],
    )  # fmt: skip
    for one in found:
        if one.refused:
            say(f"{one.learn}: {one.refused}")
    if chosen is None:
        say("nothing fits there; give another --target or --budget, or --learn head")
        return
    model = question.model
    say("", next_command=(
        f"dfedge adopt {model.model} --data {model.data} --learn {chosen.learn} --out out/adopted"
    ))  # fmt: skip


def _row(one: "Choice") -> list[str]:
    if one.refused:
        return [one.learn, *["-"] * 8, "no"]
    return [
        one.learn, percent(one.before), percent(one.after), percent(one.original_before),
        percent(one.original_after), size(one.arena_bytes), size(one.state_bytes),
        size(one.constants_bytes), f"{one.ms_per_step:.1f}", "yes" if one.fits else "no",
    ]  # fmt: skip
