"""``dfedge demo``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dfedge.cli.console import print_json, progress, say, table, verbose
from dfedge.cli.options import Json, seed_option
from dfedge.errors import UsageError


def run(
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for everything that is made. Default: out/demo, or out/photos-demo."
        ),
    ] = None,
    photos: Annotated[
        bool,
        typer.Option(
            "--photos", help="Adopt a net trained by back-propagation, and teach it new photos."
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="With --photos: a folder CLASS/*.jpg with three or more classes. "
            "Default: the digits, enlarged."
        ),
    ] = None,
    seed: Annotated[int, seed_option("Seed for training and the order of the stream.")] = 0,
    json: Json = False,
) -> None:
    """Run the whole route on embedded digits: train, export, turn the images, keep learning.

    With --photos, train an ordinary net by back-propagation, adopt it, and teach it a new class and
    turned photos on the device.

    [bold]Example:[/] dfedge demo --out out/demo

    [bold]Example:[/] dfedge demo --photos --data photos
    """
    from dfedge.allocator import keep_freed_memory

    if data and not photos:
        raise UsageError("--data needs --photos; without it the demo runs on the digits")
    keep_freed_memory()
    if photos:
        _photos(out or Path("out/photos-demo"), data, seed, json)
    else:
        _digits(out or Path("out/demo"), seed, json)


def _digits(out: Path, seed: int, json: bool) -> None:
    from dfedge.demo import report
    from dfedge.demo.route import run_demo

    with progress() as watch:
        demo = run_demo(out, seed, watch)
    report.write_report(demo, out / "report.html")
    _tell(demo.summary, report, json)


def _photos(out: Path, data: str | None, seed: int, json: bool) -> None:
    from dfedge.demo import photos_report
    from dfedge.demo.photos import run_photos

    with progress() as watch:
        demo = run_photos(out, data, seed, watch)
    photos_report.write_report(demo, out / "report.html")
    _tell(demo.summary, photos_report, json)


def _tell(summary: dict[str, Any], report: Any, json: bool) -> None:
    """The verdict, three figures, and where the rest is."""
    if json:
        print_json(summary)
        return
    say(report.sentence(summary))
    for what, value in report.figures(summary):
        say(f"  {what}: {value}")
    say(f"report: {summary['paths']['report']}")
    if verbose():
        table("all figures", report.HEAD, [list(row) for row in report.rows(summary)])
        for name, path in summary["paths"].items():
            say(f"{name}: {path}")
    say("", next_command=f"dfedge profile {summary['paths']['bundle']}")
