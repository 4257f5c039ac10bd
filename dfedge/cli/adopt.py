"""``dfedge adopt``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfedge.cli.console import percent, print_json, progress, say, size, table
from dfedge.cli.options import (
    DATA_HELP,
    Channels,
    ClassNames,
    DataDir,
    Head,
    Hop,
    Image,
    ImageFit,
    Input,
    Json,
    Label,
    LeaveOut,
    Mean,
    NoKeep,
    OnBadSample,
    Std,
    Units,
    Window,
    seed_option,
)
from dfedge.errors import DfedgeError, UsageError

if TYPE_CHECKING:
    from dfedge.adoption.adopt import Adopted
    from dfedge.exporters.adoption_check import Sizes


def run(
    model: Annotated[
        str,
        typer.Argument(
            help="package.module:function that returns a net (it is imported and run), or a "
            ".pt2, .onnx or .tflite file (nothing in it is run)."
        ),
    ],
    data: Annotated[str | None, typer.Option(help=DATA_HELP)] = None,
    out: Annotated[Path | None, typer.Option(help="RUN folder to create.")] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Need no data: list everything that is not supported, and what each "
            "--learn would cost.",
        ),
    ] = False,
    data_dir: DataDir = None,
    learn: Annotated[
        str,
        typer.Option(
            help="What learns: head; heads:NAME,NAME (a head that also sees these layers); "
            "last:K (the last K blocks too); or all."
        ),
    ] = "head",
    head: Head = "own",
    classes: ClassNames = None,
    image: Image = "",
    fit: ImageFit = "",
    channels: Channels = "rgb",
    mean: Mean = "",
    std: Std = "",
    units: Units = "data",
    input: Input = "",
    window: Window = 0,
    hop: Hop = 0,
    label: Label = "",
    leave_out: LeaveOut = "",
    recipe: Annotated[
        str,
        typer.Option(
            help="Calibration recipe: minmax, percentile, pow2-mse, or the path of a .toml file."
        ),
    ] = "pow2-mse",
    test_samples: Annotated[
        int, typer.Option(min=0, help="Number of test samples to measure; 0: all.")
    ] = 0,
    on_bad_sample: OnBadSample = "stop",
    seed: Annotated[int, seed_option("Seed for the choice of samples.")] = 0,
    no_keep: NoKeep = False,
    explain: Annotated[
        Path | None,
        typer.Option(help="Draw the signal-to-noise ratio of every result to this file (.svg)."),
    ] = None,
    json: Json = False,
) -> None:
    """Bring your own model: a trained net becomes a RUN that learns on the device.

    The part that does not learn becomes a frozen trunk of integer operations. The rest becomes
    layers that start from the net's own weights. Export the RUN like any other.

    [bold]Example:[/] dfedge adopt net.onnx --check

    [bold]Example:[/] dfedge adopt nets:mobilenet --data cifar10 --learn head --out out/adopted

    [bold]Example:[/] dfedge adopt net.onnx --data photos --head new --out out/adopted
    """
    if check:
        _check(model, image, window, json)
        return
    if data is None or out is None:
        missing = "--data" if data is None else "--out"
        raise UsageError(f"adopt: {missing} is missing; --check alone needs neither data nor --out")
    from dfedge.adoption.adopt import AdoptOptions, adopt
    from dfedge.allocator import keep_freed_memory
    from dfedge.data.reading import Reading
    from dfedge.learn.explain import explain as losses_of
    from dfedge.learn.loss_chart import losses_figure
    from dfedge.page import check_plot, save

    if explain:
        check_plot(explain)
    keep_freed_memory()
    options = AdoptOptions(
        model, data, data_dir, learn, numbers("--mean", mean), numbers("--std", std), channels,
        image, fit, head, classes, on_bad_sample, recipe, test_samples, seed, not no_keep, units,
        Reading(input, window, hop, label, leave_out),
    )  # fmt: skip
    with progress() as watch:
        found = adopt(options, out, watch)
    if explain:
        save(losses_figure(losses_of(found.run)), explain)
    if json:
        print_json(_as_json(found))
        return
    _print(found)
    if explain:
        say(f"wrote {explain}")
    say(f"wrote {out}", next_command=f"dfedge export {out} --format onnx --out {out}-bundle")


def _as_json(found: "Adopted") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "run": str(found.run.folder),
        "float_accuracy": found.float_accuracy,
        "test_accuracy": found.accuracy,
        "by_scores": found.by_scores,
        "learns": found.learned,
        "counted": found.counted,
        "left_out": found.left_out,
        "losses": [asdict(loss) for loss in found.losses],
    }


def _print(found: "Adopted") -> None:
    if found.losses:
        table(
            "frozen trunk: signal to noise of each result, in integers against float",
            ["operation", "kind", "dB"],
            [[loss.name, loss.op, f"{loss.snr:.1f}"] for loss in found.losses],
        )
    if found.left_out:
        say(_left_out(found.left_out))
    say(f"learns: {', '.join(found.learned)}")
    say(
        f"test split: {percent(found.float_accuracy)} in float, {percent(found.accuracy)} in int8 "
        f"({percent(found.by_scores)} by the net's own scores alone)"
    )


def _left_out(left_out: Sequence[str]) -> str:
    return f"left out: {', '.join(left_out)}; the order of the scores is the same"


def _check(model: str, image: str, window: int, json: bool) -> None:
    import msgspec

    from dfedge.data.inputs.window import described
    from dfedge.exporters.adoption_check import check_model

    with progress() as watch:
        found = check_model(model, image, watch, window)
    height, width, channels = found.image
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        gives = "features of an embedding" if found.embeds else "scores"
        kind = "images" if channels in (1, 3) else "maps"
        signal = width == 1 and (height > 1 or channels > 3)
        form = f"{kind} of {height} x {width} x {channels}"
        say(f"{model}: {described(height, channels) if signal else form}, {found.scores:,} {gives}")
        if found.left_out:
            say(_left_out(found.left_out))
        if found.sizes:
            _print_sizes(found.sizes)
        for number, why in enumerate(found.blockers, 1):
            say(f"{number}. {why}")
    if found.blockers:
        raise DfedgeError(f"{model} cannot be adopted as it is: {len(found.blockers)} reason(s)")
    if not json:
        head = " --head new" if found.embeds else ""
        command = f"dfedge adopt {model} --data DATA --learn head{head} --out out/adopted"
        say("", next_command=command)


def _print_sizes(sizes: Sequence["Sizes"]) -> None:
    table(
        "at batch 1, by the computed plan of the C program",
        ["--learn", "arena to train", "to infer", "state", "flash of the trunk"],
        [
            [one.learn, *map(size, (one.train_bytes, one.infer_bytes, one.state_bytes,
                                    one.flash_bytes))]
            for one in sizes
            if not one.refused
        ],
    )  # fmt: skip
    refused: dict[str, list[str]] = {}
    for one in sizes:
        if one.refused:
            why = one.refused.removeprefix(f"--learn {one.learn}: ")
            refused.setdefault(why, []).append(one.learn)
    for why, choices in refused.items():
        say(f"{', '.join(choices)}: {why}")


def numbers(option: str, text: str) -> tuple[float, ...]:
    """Read ``0.49,0.48,0.45``.

    Raises:
        UsageError: something else.
    """
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise UsageError(f"{option} {text}: allowed: numbers joined by commas") from error
