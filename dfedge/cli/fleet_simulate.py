"""``dfedge fleet simulate``: a fleet on one machine; joins the commands of `dfedge.cli.fleet`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dfedge.cli.console import print_json, progress, say, warn
from dfedge.cli.fleet import PARTS_HELP, app
from dfedge.cli.fleet_learn import Keep, Steps
from dfedge.cli.fleet_privacy import ClipNorm, DpDelta, NoiseMultiplier, privacy_of
from dfedge.cli.options import (
    Batch,
    BundleArg,
    Data,
    DataDir,
    Json,
    MinVersion,
    Pace,
    Rate,
    Runtime,
    Shift,
    Signer,
    seed_option,
)
from dfedge.errors import UsageError
from dfedge.fleet.words import (
    ALL,
    DP_DELTA,
    EQUAL,
    GROUPS,
    LEARN,
    LEARN_HELP,
    MEAN,
    RULE_HELP,
    SPLIT_HELP,
)

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
    split: Annotated[str, typer.Option(help=SPLIT_HELP)] = EQUAL,
    rounds: Annotated[
        int, typer.Option(min=1, help="Total number of rounds, including earlier calls.")
    ] = 8,
    steps: Steps = 8,
    batch: Batch = 16,
    rule: Annotated[str, typer.Option(help=RULE_HELP)] = MEAN,
    bits: Annotated[int, typer.Option(min=0, max=8, help="Bits of fractions on the server.")] = 8,
    learn: Annotated[str, typer.Option(help=LEARN_HELP)] = ALL,
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
    pace: Pace = None,
    rate: Rate = 1.0,
    keep: Keep = False,
    drop: Annotated[
        float, typer.Option(min=0, max=0.9, help="Fraction of devices that are silent in a round.")
    ] = 0.0,
    noise_multiplier: NoiseMultiplier = None,
    clip_norm: ClipNorm = None,
    dp_delta: DpDelta = DP_DELTA,
    seed: Annotated[int, seed_option("Seed for shares, orders, silent devices and noise.")] = 0,
    runtime: Runtime = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Simulate a fleet with the same files: devices learn in turn, each on its share of the data.

    Devices learn as by dfedge fleet learn. Every device has its own state folder. If the command is
    stopped, repeat it: it continues and ends in the same bytes. With more --rounds it goes further.

    [bold]Example:[/] dfedge fleet simulate out/bundle --data digits --shift rotate:90 --out sim
    """
    from dfedge.atomic import write_file
    from dfedge.bundle import Bundle
    from dfedge.device.rates import halvings
    from dfedge.errors import chosen
    from dfedge.fleet.page import aligned, head, page, row
    from dfedge.fleet.simulate import Round, Simulation, SimulationPlan

    opened = Bundle.open(bundle, signer, min_version)
    members, test = _members(opened, data, data_dir, shift, split, devices, seed)
    plan = SimulationPlan(
        opened.sha256, f"{data}{f', {shift}' if shift else ''}, {split}",
        [one.name for one in members], steps, batch, chosen("part", learn, LEARN),
        rule, bits, share=tuple(share or [ALL]), personal=tuple(personal or []), pace=pace,
        slower=halvings(rate), replay=keep, guard=keep, replace=not keep, drop=drop, seed=seed,
        privacy=privacy_of(noise_multiplier, clip_norm, dp_delta),
    )  # fmt: skip

    def told(one: Round) -> None:
        if not json:
            say(aligned(row(one)))
            warn([f"round {one.round}: {name}: {why}" for name, why in one.passed.items()])

    if not json:
        say(f"{len(members):,} devices, {plan.data}")
        say(aligned(head(plan)))
    with progress() as watch:
        report = Simulation(opened, plan, members, test, out, runtime).run(rounds, watch, told)
    write_file(out / "report.html", page(plan, report).encode())
    if json:
        print_json({"report": str(out / "report.html"), **msgspec.to_builtins(report)})
        return
    say(f"wrote {out} (report.html, report.json)")


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
    from dfedge.fleet.shares import by_group, shared_out

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
