"""``dfedge fleet simulate`` and ``new``: a fleet on one machine, and an app for Flower.

They join the commands of `dfedge.cli.fleet`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dfedge.cli.console import print_json, progress, say, table
from dfedge.cli.fleet import PARTS_HELP, app
from dfedge.cli.options import (
    BundleArg,
    Data,
    DataDir,
    Json,
    MinVersion,
    Runtime,
    Shift,
    Signer,
    seed_option,
)
from dfedge.errors import UsageError
from dfedge.plan import MAX_PACE

if TYPE_CHECKING:
    from dfedge.bundle import Bundle
    from dfedge.data.dataset import Split
    from dfedge.fleet.shares import Member

__all__ = ["app"]


@app.command()
def simulate(
    bundle: BundleArg,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for states, deltas, bases and the report.")],
    data_dir: DataDir = None,
    shift: Shift = None,
    devices: Annotated[int, typer.Option(min=1, max=10_000, help="Number of devices.")] = 10,
    split: Annotated[
        str,
        typer.Option(
            help="Shares: equal; classes:2 (two classes per device); or groups (one person, "
            "speaker or machine per device, tested on its last samples)."
        ),
    ] = "equal",
    rounds: Annotated[
        int, typer.Option(min=1, help="Total number of rounds, including earlier calls.")
    ] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Steps per device and round.")] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Samples per step.")] = 16,
    rule: Annotated[
        str, typer.Option(help="Rule for merging: mean, clipped, trimmed or median.")
    ] = "mean",
    bits: Annotated[int, typer.Option(min=0, max=8, help="Bits of fractions on the server.")] = 8,
    learn: Annotated[
        str, typer.Option(help="What learns: all, or anchors (no weight moves).")
    ] = "all",
    share: Annotated[
        list[str] | None,
        typer.Option(help=f"Parts that are sent: {PARTS_HELP}", show_default="all"),
    ] = None,
    personal: Annotated[
        list[str] | None,
        typer.Option(
            help="Part of the state that stays on the device. Repeatable.", show_default="nothing"
        ),
    ] = None,
    pace: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_PACE,
            help="Pace, as in finetune; 0 suits devices that see few classes.",
            show_default="the bundle's: 4",
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Use replay and guard, like finetune.")
    ] = False,
    drop: Annotated[
        float, typer.Option(min=0, max=0.9, help="Fraction of devices that are silent in a round.")
    ] = 0.0,
    seed: Annotated[int, seed_option("Seed for shares, orders and silent devices.")] = 0,
    runtime: Runtime = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Simulate a fleet with the same files: devices learn in turn, each on its share of the data.

    Every device has its own state folder. If the command is stopped, repeat it: it continues and
    ends in the same bytes. With more --rounds it goes further.

    [bold]Example:[/] dfedge fleet simulate out/bundle --data digits --shift rotate:90 --out sim
    """
    from dfedge.atomic import write_file
    from dfedge.bundle import Bundle
    from dfedge.errors import chosen
    from dfedge.fleet.page import page, row
    from dfedge.fleet.simulate import Simulation, SimulationPlan

    opened = Bundle.open(bundle, signer, min_version)
    members, test = _members(opened, data, data_dir, shift, split, devices, seed)
    plan = SimulationPlan(
        opened.sha256, f"{data}{f', {shift}' if shift else ''}, {split}",
        [one.name for one in members], steps, batch, chosen("part", learn, ["all", "anchors"]),
        rule, bits, share=tuple(share or ["all"]), personal=tuple(personal or []), pace=pace,
        replay=keep, guard=keep, replace=not keep, drop=drop, seed=seed,
    )  # fmt: skip
    with progress() as watch:
        report = Simulation(opened, plan, members, test, out, runtime).run(rounds, watch)
    write_file(out / "report.html", page(plan, report).encode())
    if json:
        print_json({"report": str(out / "report.html"), **msgspec.to_builtins(report)})
        return
    table(
        f"{len(members):,} devices, {plan.data}",
        ["round", "accuracy", "worst device", "merged", "bytes up", "bytes down", "not merged",
         "silent"],
        [row(one) for one in report.rounds],
    )  # fmt: skip
    say(f"wrote {out} (report.html, report.json)")


@app.command()
def new(
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    bundle: Annotated[Path, typer.Option(help="Bundle that all devices start from.")],
    data: Data,
    shift: Shift = None,
    devices: Annotated[
        int, typer.Option(min=1, help="Number of devices with which a round begins.")
    ] = 10,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Write an app for Flower (flwr), which then carries bases and deltas between machines.

    [bold]Example:[/] dfedge fleet new fleet-app --bundle out/bundle --data digits
    """
    from dfedge.bundle import Bundle
    from dfedge.fleet.new import new_app

    files = new_app(out, Bundle.open(bundle, signer, min_version), data, shift or "", devices)
    if json:
        print_json({"files": [str(one) for one in files]})
        return
    say(f"wrote {out} (README.md says how to run it)", next_command=f"flwr run {out} --stream")


def _members(
    bundle: "Bundle",
    data: str,
    data_dir: Path | None,
    shift: str | None,
    split: str,
    devices: int,
    seed: int,
) -> "tuple[list[Member], Split | None]":
    """The devices, and what tests the base; None: each device's own samples do."""
    from dfedge.data.dataset import Split
    from dfedge.data.shift import parse_shift
    from dfedge.data.sources import open_data
    from dfedge.fleet.shares import GROUPS, by_group, shared_out

    manifest = bundle.manifest
    found = open_data(data, data_dir, manifest.classes, reading=manifest.reading)
    if split == GROUPS:
        if shift:
            raise UsageError(f"--shift and --split {GROUPS}: give one of them")
        return by_group(found, manifest.input, seed, manifest.reading.leave_out), None
    found = found.cut(manifest.cut.seed if manifest.cut is not None else seed)
    move = parse_shift(shift, manifest.input) if shift else None

    def part(*wanted: str) -> Split:
        own = found.part(*wanted)[1].read(manifest.input)
        return Split(move(own.x), own.y) if move else own

    return shared_out(part("stream", "train"), split, devices, seed), part("test")
