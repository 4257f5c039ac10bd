"""``dfedge reproduce``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import out as console
from dfedge.cli.console import print_json, progress, say
from dfedge.cli.options import DataDir, Json


def run(
    tables: Annotated[list[str], typer.Argument(help="Tables: a to f, or all.")],
    results: Annotated[Path, typer.Option(help="Folder of the result files.")] = Path("results"),
    runs: Annotated[Path, typer.Option(help="Folder for trained nets.")] = Path("out/reproduce"),
    data_dir: DataDir = None,
    device: Annotated[str, typer.Option(help="cpu (short runs) or cuda (full runs).")] = "cpu",
    pending: Annotated[
        bool,
        typer.Option(
            "--pending", help="Also run missing cells and, with cuda, cells that were short."
        ),
    ] = False,
    readme: Annotated[
        Path | None, typer.Option(help="Page whose marked tables are filled in.")
    ] = None,
    json: Json = False,
) -> None:
    """Run the paper's experiments, or continue: a cell that has a result is not run again.

    [bold]Example:[/] dfedge reproduce a --data-dir ~/data
    """
    from dfedge.allocator import keep_freed_memory
    from dfedge.errors import UsageError, unknown_name
    from dfedge.reproduce.table import Context, reproduce
    from dfedge.reproduce.tables import TABLES, fill_readme, markdown

    keep_freed_memory()
    names = list(TABLES) if tables == ["all"] else tables
    for name in names:
        if name not in TABLES:
            raise unknown_name("table", name, [*TABLES, "all"])
    if device not in ("cpu", "cuda"):
        raise UsageError(f"--device {device}: allowed: cpu, cuda")
    done = {}
    with progress() as watch:
        context = Context(runs, data_dir, device, watch)
        for name in names:
            rows = reproduce(TABLES[name], results / f"{name}.json", context, pending)
            done[name] = rows
    if readme is not None:
        fill_readme(readme, results)
    if json:
        print_json(done)
        return
    for name, rows in done.items():
        console.print(markdown(TABLES[name], rows), markup=False, soft_wrap=True)
    say(f"results: {results}")
