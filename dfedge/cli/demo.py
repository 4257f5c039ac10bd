"""``dfedge demo``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import print_json, progress, say, table
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
    from dfedge.demo.report import rows, write_report
    from dfedge.demo.route import run_demo

    keep_freed_memory()
    with progress() as watch:
        demo = run_demo(out, seed, watch)
    write_report(demo, out / "report.html")
    if json:
        print_json(demo.summary)
        return
    table("dfedge demo", ["what", "found"], [[what, value] for what, value in rows(demo.summary)])
    for name, path in demo.summary["paths"].items():
        say(f"{name}: {path}")
    bundle = demo.summary["paths"]["bundle"]
    say("", next_command=f"dfedge profile {bundle}")
