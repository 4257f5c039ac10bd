"""``dfedge profile``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dfedge.cli.console import print_json, progress, say, size, table, verbose
from dfedge.cli.manners import canonical, canonical_target
from dfedge.cli.options import Json, MinVersion, Runtimes, Signer
from dfedge.rules import OF_DEVICES
from dfedge.runtimes import listed


def run(
    bundle: Annotated[
        Path | None, typer.Argument(help="Folder made by dfedge export, unless --net is given.")
    ] = None,
    net: Annotated[
        str | None,
        typer.Option(
            help="Profile a net without weights instead: a name, or the path of a .toml file."
        ),
    ] = None,
    input: Annotated[
        str, typer.Option(help="With --net: size of the input, CHANNELSxHEIGHTxWIDTH.")
    ] = "3x32x32",
    classes: Annotated[int, typer.Option(min=2, help="With --net: number of classes.")] = 10,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="With --net: batch size.")] = 1,
    depth: Annotated[
        int | None, typer.Option(help="With --net: number of blocks, for nets of variable depth.")
    ] = None,
    rule: Annotated[
        str, typer.Option(help=f"With --net: learning rule: {listed(OF_DEVICES)}.")
    ] = "df",
    format: Annotated[
        list[str],
        typer.Option(
            "--format",
            callback=canonical,
            help="With --net: executorch, onnx or litert. Repeatable.",
        ),
    ] = ["executorch"],  # noqa: B006  Typer wants the list itself
    runtime: Runtimes = None,
    target: Annotated[
        str | None,
        typer.Option(
            callback=canonical_target, help="Device to compare with. Default: the bundle's own."
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="With --net: limit to compare with, such as 256KB.")
    ] = None,
    calls: Annotated[int, typer.Option(min=1, help="Number of timed calls of every method.")] = 30,
    rivals: Annotated[
        bool, typer.Option(help="Also plan back-propagation of the same net.")
    ] = True,
    html: Annotated[
        Path | None, typer.Option(help="Write the report with its charts to this file (.html).")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw only the bars, to this file (.svg).")
    ] = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Show the memory of each method, beside back-propagation and a device's budget.

    Planned figures come from the export. Measured ones come from a separate process for each
    runtime and method, with and without the bare runtime. For --net, figures are computed only.

    [bold]Example:[/] dfedge profile out/bundle --target raspberry-pi-zero-2-w --html report.html

    [bold]Example:[/] dfedge profile --net plain-64 --input 3x32x32 --classes 10 --depth 20
    """
    import msgspec

    from dfedge.errors import UsageError

    if (bundle is None) == (net is None):
        raise UsageError("give the folder of a bundle, or --net NAME for a net without one")
    if bundle is not None and budget is not None:
        raise UsageError("--budget is for --net; a bundle is compared with --target")
    footprints: Any = {}
    with progress() as watch:
        if bundle is not None:
            from dfedge.bundle import Bundle
            from dfedge.profile.report import profile

            opened = Bundle.open(bundle, signer, min_version)
            report = profile(opened, runtime, target, calls, watch, rivals)
            footprints = opened.footprints()
        else:
            from dfedge.profile.untrained import untrained

            assert net is not None
            formats = tuple(dict.fromkeys(format))
            report = untrained(
                net, input, classes, batch, depth, rule, target or "host", budget, formats
            )
    if plot:
        from dfedge.page import save
        from dfedge.profile.chart import bars

        save(bars(report), plot)
    if html:
        from dfedge.profile.page import write_page

        write_page(report, footprints, html)
    if json:
        print_json(msgspec.to_builtins(report))
        return
    _print(report)
    for path in filter(None, (plot, html)):
        say(f"wrote {path}")


def _print(report: Any) -> None:
    rows = [
        [f"{name} {method}", size(need.arena_bytes), size(need.state_bytes),
         size(need.program_bytes),
         *([size(need.lower_bound_bytes), size(need.stored_activation_bytes)] * verbose()),
         f"{100 * (need.arena_bytes + need.state_bytes) / report.allowed_bytes:.1f} %"]
        for name, rendering in report.renderings.items()
        for method, need in rendering.methods.items()
        if _shown(method)
    ]  # fmt: skip
    table(
        f"planned bytes (target {report.target} leaves a model {size(report.allowed_bytes)})",
        ["method", "arena", "state", "program",
         *(["alive at most", "stored activations"] * verbose()), "of the budget"],
        rows,
    )  # fmt: skip
    for name, rendering in report.renderings.items():
        say(f"{name}: {rendering.source}")
    if verbose():
        _layers(report)
    if report.rivals_by_batch:
        _rivals(report)
    elif report.not_computed:
        say(report.not_computed)
    if report.measured:
        table(
            "measured on this computer",
            ["method", "median ms", "bare runtime", "peak with bundle", "bundle's share"],
            [
                [f"{row.runtime} {row.method}", f"{row.median_ms:.2f}", size(row.before_bytes),
                 size(row.peak_bytes), size(row.peak_bytes - row.before_bytes)]
                for row in report.measured
                if _shown(row.method)
            ],
        )  # fmt: skip


def _shown(method: str) -> bool:
    """Whether a method is told without --verbose: those that learn and infer."""
    return verbose() or method.startswith(("train_b", "infer_b"))


def _layers(report: Any) -> None:
    layers: dict[str, list[str]] = {}
    train = [name for name in report.methods if name.startswith("train_b")]
    for name in train:
        for layer, alive in report.methods[name].layer_bytes.items():
            layers.setdefault(layer, ["-"] * len(train))[train.index(name)] = size(alive)
    table(f"alive at most while a layer is at work ({report.rendering})", ["layer", *train],
          [[layer, *cells] for layer, cells in layers.items()])  # fmt: skip


def _rivals(report: Any) -> None:
    planned = [
        (f"batch {batch}: {name}", rival)
        for batch, found in report.rivals_by_batch.items()
        for name, rival in found.items()
    ]
    table(
        "back-propagation of the same net",
        ["rival", "arena", "state", "together"],
        [
            [name, size(rival.arena_bytes), size(rival.state_bytes),
             size(rival.arena_bytes + rival.state_bytes)]
            for name, rival in planned
        ],
    )  # fmt: skip
    if verbose():
        for name, rival in planned:
            say(f"{name}: {rival.source}")
    say(
        f"training needs {report.ratio_to_bp:.3f} of what back-propagation does, its arena is "
        f"{report.ratio_to_inference:.2f} times that of inference ({report.rendering})"
    )
