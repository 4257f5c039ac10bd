"""``dfedge demo``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import print_json, progress, say, table, verbose
from dfedge.cli.options import Json, seed_option


def run(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path(
        "out/demo"
    ),
    seed: Annotated[int, seed_option("Seed for training and the order of the stream.")] = 0,
    json: Json = False,
) -> None:
    """Run the whole route on embedded digits: train, export, turn the images, keep learning.

    [bold]Example:[/] dfedge demo --out out/demo
    """
    from dfedge.allocator import keep_freed_memory
    from dfedge.demo.report import figures, rows, sentence, write_report
    from dfedge.demo.route import run_demo

    keep_freed_memory()
    with progress() as watch:
        demo = run_demo(out, seed, watch)
    write_report(demo, out / "report.html")
    if json:
        print_json(demo.summary)
        return
    say(sentence(demo.summary))
    for what, value in figures(demo.summary):
        say(f"  {what}: {value}")
    say(f"report: {demo.summary['paths']['report']}")
    if verbose():
        table("all figures", ["what", "found"], [list(row) for row in rows(demo.summary)])
        for name, path in demo.summary["paths"].items():
            say(f"{name}: {path}")
    say("", next_command=f"dfedge profile {demo.summary['paths']['bundle']}")
