"""``dfedge adopt``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import percent, print_json, progress, say, table
from dfedge.cli.options import Data, DataDir, Json, NoKeep, seed_option


def run(
    model: Annotated[
        str,
        typer.Argument(
            help="package.module:function that returns a net (it is imported and run), or a file "
            ".pt2 or .onnx (nothing in it is run)."
        ),
    ],
    data: Data,
    out: Annotated[Path, typer.Option(help="The RUN folder to make.")],
    data_dir: DataDir = None,
    learn: Annotated[
        str,
        typer.Option(
            help="head; heads:NAME,NAME, a head that sees these layers too; last:K, the last K "
            "blocks as well; or all of them."
        ),
    ] = "head",
    mean: Annotated[
        str, typer.Option(help="Of the images that the net was trained on: 0.49,0.48,0.45.")
    ] = "",
    std: Annotated[str, typer.Option(help="Their standard deviation, likewise.")] = "",
    recipe: Annotated[
        str, typer.Option(help="minmax, percentile, pow2-mse, or the path of a .toml file.")
    ] = "pow2-mse",
    test_samples: Annotated[
        int, typer.Option(min=0, help="Of the test split that are measured; 0: all.")
    ] = 0,
    seed: Annotated[int, seed_option("Which samples are looked at.")] = 0,
    no_keep: NoKeep = False,
    explain: Annotated[
        Path | None,
        typer.Option(help="Draw the signal to noise of every result, layers and all (.svg)."),
    ] = None,
    json: Json = False,
) -> None:
    """Bring your own model: a trained net becomes a RUN that learns on the device.

    What does not learn becomes a frozen trunk of integer steps; the rest becomes layers that start
    from the net's own weights. Export the RUN like any other.

    [bold]Example:[/] dfedge adopt nets:mobilenet --data cifar10 --learn head --out out/adopted

    [bold]Example:[/] dfedge adopt net.onnx --data cifar10 --out out/adopted --explain losses.svg
    """
    from dataclasses import asdict

    from dfedge.adoption.adopt import AdoptOptions, adopt
    from dfedge.allocator import keep_freed_memory
    from dfedge.learn.explain import explain as losses_of
    from dfedge.learn.loss_chart import losses_figure
    from dfedge.page import check_plot, save

    if explain:
        check_plot(explain)
    keep_freed_memory()
    options = AdoptOptions(
        model, data, data_dir, learn, numbers("--mean", mean), numbers("--std", std), recipe,
        test_samples, seed, not no_keep,
    )  # fmt: skip
    with progress() as watch:
        found = adopt(options, out, watch)
    if explain:
        save(losses_figure(losses_of(found.run)), explain)
    if json:
        print_json({
            "run": str(out),
            "float_accuracy": found.float_accuracy,
            "test_accuracy": found.accuracy,
            "learns": found.learned,
            "counted": found.counted,
            "left_out": found.left_out,
            "losses": [asdict(loss) for loss in found.losses],
        })  # fmt: skip
        return
    if found.losses:
        table(
            "frozen trunk: signal to noise of each result, in integers against float",
            ["operation", "kind", "dB"],
            [[loss.name, loss.op, f"{loss.snr:.1f}"] for loss in found.losses],
        )
    if found.left_out:
        say(f"left out: {', '.join(found.left_out)}; the order of the scores is the same")
    say(f"learns: {', '.join(found.learned)}")
    say(f"test split: {percent(found.float_accuracy)} in float, {percent(found.accuracy)} in int8")
    if explain:
        say(f"wrote {explain}")
    say(f"wrote {out}", next_command=f"dfedge export {out} --format onnx --out {out}-bundle")


def numbers(option: str, text: str) -> tuple[float, ...]:
    """Read ``0.49,0.48,0.45``.

    Raises:
        UsageError: something else.
    """
    from dfedge.errors import UsageError

    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise UsageError(f"{option} {text}: allowed: numbers joined by commas") from error
