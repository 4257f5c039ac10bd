"""``dfedge finetune``."""

from typing import TYPE_CHECKING, Annotated

import typer

from dfedge.cli import normal
from dfedge.cli.console import percent, print_json, progress, say, warn
from dfedge.cli.opened import open_session
from dfedge.cli.options import (
    Batch,
    BundleArg,
    Data,
    DataDir,
    Initial,
    Json,
    MinVersion,
    NoGuard,
    NoReplay,
    OnBadSample,
    Only,
    Pace,
    Rate,
    Replace,
    Runtime,
    Shift,
    Signer,
    SplitName,
    State,
    Threads,
    seed_option,
)
from dfedge.cli.signals import StoppedError, stoppable
from dfedge.errors import UsageError

if TYPE_CHECKING:
    from dfedge.device.care import GuardReport
    from dfedge.device.finetune import Outcome
    from dfedge.device.session import Session


def run(
    bundle: BundleArg,
    data: Data,
    data_dir: DataDir = None,
    split: SplitName = None,
    only: Only = "",
    shift: Shift = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Number of presentations to learn.", show_default="2000"),
    ] = None,
    total_steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            min=1,
            help="Instead of --samples: total number of steps, including earlier calls.",
        ),
    ] = None,
    save_every: Annotated[
        int,
        typer.Option(
            min=0,
            help="Steps between two saves; 0: at the end only. With the guard, only judged "
            "states are saved.",
        ),
    ] = 50,
    save_seconds: Annotated[
        float | None, typer.Option(min=0, help="Also save after this many seconds.")
    ] = None,
    on_bad_sample: OnBadSample = "stop",
    batch: Batch = 16,
    seed: Annotated[int, seed_option("Seed for the order of presentation.")] = 0,
    pace: Pace = None,
    rate: Rate = 1.0,
    no_replay: NoReplay = False,
    no_guard: NoGuard = False,
    replace: Replace = False,
    runtime: Runtime = None,
    state: State = None,
    initial: Initial = False,
    signer: Signer = None,
    min_version: MinVersion = None,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Continue training inside the exported program, in integers.

    Known samples from the bundle are replayed among the new ones, and a guard undoes learning that
    made the model worse: at most 2 % of the known samples may be lost, unless --replace is given.

    Only the state folder is written. If the command is stopped, repeat it: it continues and ends in
    the same state, bit for bit. Ctrl-C and SIGTERM save first. With --steps, a repetition at the
    end has nothing to do.

    A bundle of --task normal takes each sample once, in order, and needs no labels.

    [bold]Example:[/] dfedge finetune out/bundle --data digits --shift rotate:90 --runtime onnx
    """
    from dataclasses import asdict

    from dfedge.data.door import SampleFilter
    from dfedge.data.sources import load_split
    from dfedge.device.care import Care
    from dfedge.device.finetune import finetune
    from dfedge.device.rates import halvings
    from dfedge.device.store import FinetuneJob, Saving

    if samples and total_steps:
        raise UsageError("--samples and --steps exclude each other; give one of them")
    door = SampleFilter(on_bad_sample)
    care = Care(not no_replay, not no_guard, replace)
    session = open_session(
        bundle, runtime, state, initial, signer, min_version, care, threads=threads
    )
    manifest = session.bundle.manifest
    if normal.knows_normal(session):
        normal.refuse(
            session, steps=total_steps, only=only, pace=pace, rate=rate != 1, replace=replace,
            no_replay=no_replay, no_guard=no_guard,
        )  # fmt: skip
        judged = normal.load(session, data, data_dir, split, shift, ("stream", "train", "all"))
        normal.learn(session, judged, "labelled", samples, json)
        return
    wanted = (split,) if split else ("stream", "train", "all")
    classes = session.classes
    name, images = load_split(
        data,
        data_dir,
        manifest.input,
        classes,
        wanted,
        shift,
        door,
        manifest.cut,
        manifest.reading,
        only,
    )
    count = total_steps * batch if total_steps else samples or 2000
    job = FinetuneJob(
        data,
        name,
        shift or "",
        seed,
        batch,
        count,
        total=bool(total_steps),
        pace=pace,
        slower=halvings(rate),
    )
    with progress() as watch, stoppable() as stopped:
        saving = Saving(save_every, save_seconds, stop=lambda: bool(stopped))
        outcome = finetune(session, images, job, lambda done, of: watch("learn", done, of), saving)
    if stopped and outcome.resumed + outcome.samples < count:
        raise StoppedError(stopped[0], _kept(session, outcome))
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
                "judged": asdict(outcome.judged) if outcome.judged else None,
                "samples_in_all": session.record.samples,
                "skipped": dict(door.skipped),
                "slot": session.store.slot,
                "notes": session.store.notes,
            }
        )
        return
    if outcome.resumed:
        say(f"resumed after {outcome.resumed:,} presentations from an earlier call")
    say(
        f"learned {outcome.samples:,} presentations of {len(images):,} samples in "
        f"{outcome.steps:,} steps on {session.runtime}; {percent(outcome.accuracy)} recognised "
        "before being learned"
    )
    if outcome.judged is not None:
        tell(outcome.judged)
    option = f" --shift {shift}" if shift else ""
    option += f" --only {only}" if only else ""
    say(
        f"wrote {session.folder} ({session.record.samples:,} presentations in all)",
        next_command=f"dfedge evaluate {bundle} --data {data}{option}",
    )


def _kept(session: "Session", outcome: "Outcome") -> str:
    """What a job that was stopped has saved."""
    if not outcome.saved:
        return f"; {session.folder} is unchanged: the guard has judged nothing since"
    return f"; saved in {session.folder} ({outcome.saved:,} presentations in all)"


def tell(judged: "GuardReport") -> None:
    """What was won and what was lost, in words."""
    if judged.new_before is not None and judged.new_after is not None:
        say(
            f"new data: {percent(judged.new_before)} -> {percent(judged.new_after)} "
            "(samples held back)"
        )
    say(
        f"known data: {percent(judged.known_before)} -> {percent(judged.known_after)} "
        "(samples in the bundle)"
    )
    if judged.partly or judged.wholly:
        say(
            f"guard: {judged.judgements} judgements, {judged.partly} partly undone, "
            f"{judged.wholly} fully undone; --replace lets new data replace the old, --no-guard "
            "turns the guard off"
        )
