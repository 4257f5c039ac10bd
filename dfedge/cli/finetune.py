"""``dfedge finetune``."""

from typing import Annotated

import typer

from dfedge.cli.console import percent, print_json, progress, say, warn
from dfedge.cli.options import (
    BundleArg,
    Data,
    DataDir,
    Initial,
    Json,
    Runtime,
    Shift,
    Signer,
    SplitName,
    State,
)
from dfedge.errors import UsageError


def run(
    bundle: BundleArg,
    data: Data,
    data_dir: DataDir = None,
    split: SplitName = None,
    shift: Shift = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Presentations to learn.", show_default="2000")
    ] = None,
    total_steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, help="Instead: steps in total, with those of earlier such calls."
        ),
    ] = None,
    save_every: Annotated[
        int, typer.Option(min=0, help="Steps between two saves; 0: at the end only.")
    ] = 50,
    save_seconds: Annotated[
        float | None, typer.Option(min=0, help="Save as well when so many seconds have passed.")
    ] = None,
    on_bad_sample: Annotated[
        str, typer.Option(help="stop, or skip and count, at a sample that cannot be learned.")
    ] = "stop",
    batch: Annotated[int, typer.Option(min=1, help="Samples a step.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the order of presentation.")] = 0,
    pace: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=8,
            help="How many times the rates may halve while there is little to learn; 0: constant.",
            show_default="the bundle's: 4",
        ),
    ] = None,
    runtime: Runtime = None,
    state: State = None,
    initial: Initial = False,
    signer: Signer = None,
    json: Json = False,
) -> None:
    """Go on training inside the exported program, in integers.

    Only the state folder is written. Stopped at any time, the same command goes on and ends in the
    same bytes; with --steps it may also be repeated at its end, and then has nothing to do.

    [bold]Example:[/] dfedge finetune out/bundle --data digits --shift rotate:90 --runtime onnx
    """
    from dfedge.data.door import Door
    from dfedge.data.sources import load_split
    from dfedge.device.finetune import finetune
    from dfedge.device.session import Session
    from dfedge.device.store import Job, Saving

    if samples and total_steps:
        raise UsageError("--samples and --steps say the same; give one of them")
    door = Door(on_bad_sample)
    session = Session.open(bundle, runtime, state, initial, require_signature=signer)
    warn(session.store.notes)
    manifest = session.bundle.manifest
    wanted = (split,) if split else ("stream", "train", "all")
    classes = session.classes
    name, images = load_split(data, data_dir, manifest.image, classes, wanted, shift, door)
    count = total_steps * batch if total_steps else samples or 2000
    job = Job(data, name, shift or "", seed, batch, count, total=bool(total_steps), pace=pace)
    saving = Saving(save_every, save_seconds)
    with progress() as watch:
        outcome = finetune(session, images, job, lambda done, of: watch("learn", done, of), saving)
    warn([f"skipped {count:,} samples: {reason}" for reason, count in door.skipped.items()])
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
                "skipped": dict(door.skipped),
                "slot": session.store.slot,
                "notes": session.store.notes,
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
