"""``dfedge profile``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import kib, print_json, progress, say, table
from dfedge.cli.options import BundleArg, Json, Runtimes


def run(
    bundle: BundleArg,
    runtime: Runtimes = None,
    target: Annotated[
        str | None, typer.Option(help="Compare with this device; default: the bundle's own.")
    ] = None,
    calls: Annotated[int, typer.Option(min=1, help="Calls timed of every method.")] = 30,
    plot: Annotated[Path | None, typer.Option(help="Draw the planned bytes here (.svg).")] = None,
    json: Json = False,
) -> None:
    """Show the memory that each method is planned to need, and what a process measured.

    Measured: a process of its own opens the bundle in one runtime and calls its methods; its peak
    resident memory is told with and without the interpreter and the libraries that it stands on.

    [bold]Example:[/] dfedge profile out/bundle --target raspberry-pi-zero-2-w
    """
    import msgspec

    from dfedge.bundle import Bundle
    from dfedge.profile.report import profile

    opened = Bundle.open(bundle)
    with progress() as watch:
        report = profile(opened, runtime, target, calls, watch)
    if plot:
        from dfedge.profile.chart import write_chart

        write_chart(opened.manifest, plot)
    if json:
        print_json(msgspec.to_builtins(report))
        return
    table(
        f"planned bytes (target {report.target}: {kib(report.target_ram_bytes)} of RAM)",
        ["method", "arena", "state", "together", "of the target"],
        [
            [
                f"{row.format} {row.method}",
                kib(row.arena_bytes),
                kib(row.state_bytes),
                kib(row.arena_bytes + row.state_bytes),
                f"{100 * (row.arena_bytes + row.state_bytes) / report.target_ram_bytes:.1f} %",
            ]
            for row in report.planned
        ],
    )
    for name, source in report.sources.items():
        say(f"{name}: planned by {source}")
    if report.measured:
        table(
            "measured on this computer",
            ["method", "median ms", "resident before", "peak with bundle", "bundle's share"],
            [
                [
                    f"{row.runtime} {row.method}",
                    f"{row.median_ms:.2f}",
                    kib(row.before_bytes),
                    kib(row.peak_bytes),
                    kib(row.peak_bytes - row.before_bytes),
                ]
                for row in report.measured
            ],
        )
    if plot:
        say(f"wrote {plot}")
