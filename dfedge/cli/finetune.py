"""``dfedge finetune``."""

from typing import Annotated

import typer

from dfedge.cli.console import percent, print_json, progress, say
from dfedge.cli.options import (
    BundleArg,
    Data,
    DataDir,
    Initial,
    Json,
    Runtime,
    Shift,
    SplitName,
    State,
)


def run(
    bundle: BundleArg,
    data: Data,
    data_dir: DataDir = None,
    split: SplitName = None,
    shift: Shift = None,
    samples: Annotated[int, typer.Option(min=1, help="Presentations to learn.")] = 2000,
    batch: Annotated[int, typer.Option(min=1, help="Samples a step.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the order of presentation.")] = 0,
    cooling: Annotated[
        bool, typer.Option(help="Halve the learning rate after each quarter of the samples.")
    ] = False,
    runtime: Runtime = None,
    state: State = None,
    initial: Initial = False,
    json: Json = False,
) -> None:
    """Go on training inside the exported program, in integers.

    Only the state folder is written. Stopped at any time, the same command goes on and ends in the
    same bytes.

    [bold]Example:[/] dfedge finetune out/bundle --data digits --shift rotate:90 --runtime onnx
    """
    from dfedge.data.sources import load_split
    from dfedge.device.finetune import finetune
    from dfedge.device.session import Session
    from dfedge.device.store import Job

    session = Session.open(bundle, runtime, state, initial)
    manifest = session.bundle.manifest
    wanted = (split,) if split else ("stream", "train", "all")
    name, images = load_split(data, data_dir, manifest.image, session.classes, wanted, shift)
    job = Job(data, name, shift or "", seed, batch, cooling, samples)
    with progress() as watch:
        outcome = finetune(session, images, job, lambda done, of: watch("learn", done, of))
    if json:
        print_json(
            {
                "runtime": session.runtime,
                "state": str(session.folder),
                "state_sha256": session.digest(),
                "split": name,
                "shift": shift,
                "samples": outcome.samples,
                "resumed": outcome.resumed,
                "steps": outcome.steps,
                "accuracy_while_learning": outcome.accuracy,
                "active": outcome.active,
                "samples_in_all": session.record.samples,
            }
        )
        return
    if outcome.resumed:
        say(f"went on after {outcome.resumed:,} presentations that an earlier call had learned")
    say(
        f"learned {outcome.samples:,} presentations of {len(images):,} images in {outcome.steps:,} "
        f"steps on {session.runtime}; {percent(outcome.accuracy)} recognised before being learned"
    )
    option = f" --shift {shift}" if shift else ""
    say(
        f"wrote {session.folder} ({session.record.samples:,} presentations in all)",
        next_command=f"dfedge evaluate {bundle} --data {data}{option}",
    )
