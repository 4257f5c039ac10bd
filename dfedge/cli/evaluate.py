"""``dfedge evaluate``."""

from dfedge.cli import normal
from dfedge.cli.console import percent, print_json, progress, say, table
from dfedge.cli.opened import open_session
from dfedge.cli.options import (
    BundleArg,
    Data,
    DataDir,
    Initial,
    Json,
    MinVersion,
    Only,
    Runtime,
    Shift,
    Signer,
    SplitName,
    State,
    Threads,
)


def run(
    bundle: BundleArg,
    data: Data,
    data_dir: DataDir = None,
    split: SplitName = None,
    only: Only = "",
    shift: Shift = None,
    runtime: Runtime = None,
    state: State = None,
    initial: Initial = False,
    signer: Signer = None,
    min_version: MinVersion = None,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Measure accuracy on labelled data, without learning from it.

    For a bundle of --task normal: the rate of false alarms, and the fraction found of samples that
    are labelled anomaly or abnormal.

    [bold]Example:[/] dfedge evaluate out/bundle --data digits --shift rotate:90
    """
    from dfedge.data.sources import load_split
    from dfedge.device.evaluate import evaluate

    session = open_session(
        bundle, runtime, state, initial, signer, min_version, read_only=True, threads=threads
    )
    manifest = session.bundle.manifest
    if normal.knows_normal(session):
        normal.refuse(session, only=only)
        judged = normal.load(session, data, data_dir, split, shift, ("test", "all"))
        normal.evaluate(session, data, judged, shift, json)
        return
    wanted = (split,) if split else ("test", "all")
    name, samples = load_split(
        data,
        data_dir,
        manifest.input,
        session.classes,
        wanted,
        shift,
        cut=manifest.cut,
        reading=manifest.reading,
        only=only,
    )
    with progress() as watch:
        result = evaluate(session, samples, lambda done, of: watch("evaluate", done, of))
    if json:
        print_json(
            {
                "runtime": session.runtime,
                "state": session.state_name,
                "split": name,
                "shift": shift,
                "samples": result.samples,
                "accuracy": result.accuracy,
                "per_class": result.per_class,
            }
        )
        return
    table(
        f"{data}, split {name}" + (f", {shift}" if shift else ""),
        ["class", "recognised"],
        [[label, percent(value)] for label, value in result.per_class.items()]
        + [[f"all {result.samples:,}", percent(result.accuracy)]],
    )
    say(f"state: {session.state_name}; runtime: {session.runtime}")
