"""``dfedge fleet learn``: a round of a device, as a simulation has it; joins `dfedge.cli.fleet`."""

from typing import Annotated

import typer

from dfedge.cli.console import print_json, say
from dfedge.cli.fleet import app
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
    State,
    seed_option,
)
from dfedge.fleet.words import ALL, ANCHORS, LEARN, LEARN_HELP

Steps = Annotated[int, typer.Option(min=1, help="Steps per device and round.")]
Keep = Annotated[bool, typer.Option("--keep", help="Use replay and guard, like finetune.")]


@app.command()
def learn(
    bundle: BundleArg,
    data: Data,
    data_dir: DataDir = None,
    shift: Shift = None,
    steps: Steps = 8,
    batch: Batch = 16,
    learn: Annotated[str, typer.Option(help=LEARN_HELP)] = ALL,
    pace: Pace = None,
    rate: Rate = 1.0,
    keep: Keep = False,
    seed: Annotated[int, seed_option("Seed for the order of presentation.")] = 0,
    runtime: Runtime = None,
    state: State = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Learn a round as a device of a fleet: at the measured rates, with neither replay nor guard.

    The rates of a bundle are those that do no harm to a device that learns alone. A fleet takes the
    mean of many, so each may be faster. Devices that see few classes do well with --pace 0.

    [bold]Example:[/] dfedge fleet learn out/bundle --data photos
    """
    from dfedge.bundle import Bundle
    from dfedge.data.sources import load_split
    from dfedge.device.care import Care
    from dfedge.device.rates import halvings
    from dfedge.device.store import default_folder
    from dfedge.errors import chosen
    from dfedge.fleet.device import Task
    from dfedge.fleet.device import learn as learned

    opened = Bundle.open(bundle, signer, min_version)
    own, folder = opened.manifest, state or default_folder(opened)
    only_anchors = chosen("part", learn, LEARN) == ANCHORS
    split = load_split(data, data_dir, own.input, own.classes, ("stream", "train", "all"), shift,
                       cut=own.cut, reading=own.reading)[1]  # fmt: skip
    task = Task(steps, batch, only_anchors, pace=pace, slower=halvings(rate), seed=seed,
                care=Care(keep, keep, not keep))  # fmt: skip
    record = learned(opened, split, task, folder, runtime).record
    if json:
        print_json({"folder": str(folder), "samples_in_all": record.samples, "steps": steps})
        return
    say(
        f"learned {steps:,} steps of {batch:,}; wrote {folder}",
        next_command=f"dfedge fleet delta {bundle} --out ME.delta",
    )
